"""The torch engine: the device thread, its step loop, the inspector."""
