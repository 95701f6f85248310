"""Decides which waiting request runs next on the device and in which batch, and runs it."""
