"""Requests for images in the words of the web UI, and their translation."""
