"""Requests to enlarge a picture."""
