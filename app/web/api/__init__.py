"""The native API: its routes and wire types."""
