"""A Litestar server and plugin for SDXL image generation."""
