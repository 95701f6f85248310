"""A request: its parameters, how they are resolved, what its image says of itself."""
