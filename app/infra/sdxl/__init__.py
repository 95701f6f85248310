"""The SDXL family: its configs, its components, its encode, denoise and decode."""
