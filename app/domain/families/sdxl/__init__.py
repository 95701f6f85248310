"""The SDXL family: how its files are recognised."""
