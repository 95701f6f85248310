"""Trains the demo models that ship with the package, on pictures that it draws. `uv run python -m training --help`."""
