"""Which pages and machines may ask."""
