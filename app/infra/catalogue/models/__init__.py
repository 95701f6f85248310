"""Entries of models: files, presets and repositories of the Hub."""
