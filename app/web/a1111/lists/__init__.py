"""What the server has and can do, in the lists of the web UI."""
