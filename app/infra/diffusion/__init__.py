"""What families of latent-diffusion models share: samplers, tokenization, layers, tiled decode, previews."""
