"""Decides which device of the machine makes the images of which request, and takes devices that do not answer out."""
