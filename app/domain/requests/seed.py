"""The seed of a request that names none."""

import secrets

_RANDOM_SEED_BITS = 32
"""Short enough to be read aloud, and below the 2**53 that clients of JSON can hold."""


def random_seed() -> int:
    """Draw a seed."""
    return secrets.randbits(_RANDOM_SEED_BITS)
