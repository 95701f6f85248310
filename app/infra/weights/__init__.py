"""From safetensors files to weights in host memory."""
