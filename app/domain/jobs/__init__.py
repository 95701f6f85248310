"""Jobs that outlive the HTTP request that sent them: states, events, results."""
