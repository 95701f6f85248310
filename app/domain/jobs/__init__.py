"""Jobs that outlive the request that sent them: states, events, results."""
