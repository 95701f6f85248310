"""Bodies as they arrive: bounded, and with their pictures on disk."""
