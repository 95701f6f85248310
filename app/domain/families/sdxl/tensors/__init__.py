"""The tensors of the four networks: names in each layout, shapes, and what is missing from a file."""
