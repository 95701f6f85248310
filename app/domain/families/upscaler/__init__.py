"""Image upscalers as a family: what they are, without torch."""
