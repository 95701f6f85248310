"""What a model is, without reading a tensor."""
