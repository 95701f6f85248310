"""How the latents of SDXL's own VAE become the colours of a preview."""

from ...models.spec import PreviewFactors

SDXL_PREVIEW = PreviewFactors(
    factors=(
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
    ),
    bias=(0.1084, -0.0175, -0.0011),
)
"""Factors of SDXL's own VAE, published as `latent_rgb_factors` and `latent_rgb_factors_bias` of the class
`SDXL` in ComfyUI's comfy/latent_formats.py. For another VAE they can be fitted; see training/preview_factors.py."""
