"""Authentication by API keys, and which routes need which of their scopes."""
