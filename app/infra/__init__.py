"""Fulfils the domain's ports with torch, diffusers, Pillow, files and the Hub; knows no HTTP."""
