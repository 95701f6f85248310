"""Controllers and wire types: decode, call one service, encode. Knows no tensors."""
