"""Image upscalers: load, enlarge tile by tile."""
