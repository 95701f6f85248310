"""What `litestar-diffusion inspect` says about a file."""
