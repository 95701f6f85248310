"""Quantities as text for people."""


def format_bytes(nbytes: int) -> str:
    """Format a number of bytes as `6.94 GB` or `10.6 MB`, in powers of 1,000."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"
