"""What the VAEs of latent-diffusion families have in common."""

LATENT_SCALE = 8
"""Pixels of an image for each element of its latent, along each side."""
