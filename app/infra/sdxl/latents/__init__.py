"""From pictures to latents and back."""
