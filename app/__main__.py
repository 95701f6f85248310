"""`python -m litestar_diffusion` is the command line."""

from .cli import main

main()
