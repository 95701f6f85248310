"""What `litestar-diffusion check` looks at."""
