"""Layers of diffusers and torch with the same result in less time or memory, and the table that puts them in place."""
