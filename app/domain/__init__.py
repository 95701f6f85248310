"""Rules, decisions, errors and ports: plain Python and msgspec, no web framework and no torch."""
