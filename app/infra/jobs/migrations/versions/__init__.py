"""Changes of the schema, the oldest first."""
