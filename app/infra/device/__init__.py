"""One device: its memory, transfers, timing, dtypes and threads."""
