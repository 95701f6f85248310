"""The port that makes small pictures of large ones."""

from collections.abc import Awaitable, Callable

MAX_WIDTH_PX = 1024
"""Largest width of a thumbnail."""

Thumbnail = Callable[[bytes, int], Awaitable[bytes]]
"""Makes a WebP file of at most this width, in pixels, from an image file of ours; the shape stays."""
