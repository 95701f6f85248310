"""Ten models in memory for three: variants of the demo model that share all but their UNets."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
_UNET_NBYTES, _REST_NBYTES, _ACTIVATION_NBYTES = 17_300_000, 4_600_000, 13_000_000
"""Bytes of the demo model in float32, and of the activations of the largest image of `plans.soak_plan`."""
BUDGET_NBYTES = 3 * _UNET_NBYTES + _REST_NBYTES + _ACTIVATION_NBYTES
"""Bytes that hold three of `write_models`' models, and never four."""


def write_models(folder: Path, count: int) -> list[str]:
    """Write models that differ from the demo model, and from each other, in their UNets. Returns their names."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    (folder / "demo.config").symlink_to(ROOT / "models" / "demo.config", target_is_directory=True)
    sidecar = (ROOT / "models" / "demo.toml").read_text(encoding="utf-8")
    with safe_open(ROOT / "models" / "demo.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    names = [f"soak-{index}" for index in range(count)]
    for index, name in enumerate(names):
        generator = torch.Generator().manual_seed(index)
        own = {
            key: tensor * (1 + 0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            if key.startswith("model.diffusion_model.")
            else tensor
            for key, tensor in tensors.items()
        }
        save_file(own, folder / f"{name}.safetensors", metadata)
        (folder / f"{name}.toml").write_text(sidecar, encoding="utf-8")
    return names


def environment(folder: Path) -> dict[str, str]:
    """The settings of a server with the models in a folder, and memory for three of them."""
    settings = {
        "MODELS__DIRECTORY": str(folder),
        "MODELS__BUILTIN": "false",
        "MODELS__DEFAULT": "",
        "MODELS__DTYPE": "float32",
        "MEMORY__HOST": str(BUDGET_NBYTES),
        "LOG__LEVEL": "warning",
    }
    return {"PYTHONPATH": str(ROOT)} | {f"LITESTAR_DIFFUSION__{key}": value for key, value in settings.items()}


ONE_MODEL = {
    "LITESTAR_DIFFUSION__MODELS__DEFAULT": "",
    "LITESTAR_DIFFUSION__MODELS__DTYPE": "float32",
    "LITESTAR_DIFFUSION__MEMORY__HOST": "60000000",
    "PYTHONPATH": str(ROOT),
}
"""The settings of a server with memory for one of the two demo models and a batch of images."""
