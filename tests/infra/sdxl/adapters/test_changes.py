"""Each form of a change beside a layer equals the layer with the changed weight; LoHa and LoKr equal PEFT's own."""

import copy
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from litestar_diffusion.domain.families.sdxl.adapter_files.algorithms import form_of
from litestar_diffusion.domain.families.sdxl.adapter_files.contents import AdapterLayer
from litestar_diffusion.domain.families.sdxl.adapter_files.layers import Layer
from litestar_diffusion.infra.diffusion.fast_layers import upsampling
from litestar_diffusion.infra.diffusion.fast_layers.upsampling import PhaseUpsample
from litestar_diffusion.infra.diffusion.side_paths.change import Change
from litestar_diffusion.infra.diffusion.side_paths.side_path import lay_side_paths, standing_in
from litestar_diffusion.infra.sdxl.adapters.adapters import LoadedLayer
from litestar_diffusion.infra.sdxl.adapters.changes import Kept, changes_of

R, SCALE, STRENGTH = 3, 0.5, 0.8


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def changes(layer: nn.Module, factors: dict[str, Tensor], first_row: int | None = None, **options: Any) -> list[Change]:
    weight: Any = layer.weight
    form = form_of({role: tuple(tensor.shape) for role, tensor in factors.items()})
    of_file = AdapterLayer(component="unet", name="layer", form=form, keys={role: role for role in factors})
    loaded = LoadedLayer(component="unet", layer=of_file, scale=SCALE, parameters={})
    place = Layer(path="layer", shape=tuple(weight.shape), first_row=first_row)
    kept = options.get("kept") or Kept()
    with torch.inference_mode():
        in_arena = {role: _as_in_an_arena(tensor) for role, tensor in factors.items()}
        return list(changes_of(layer, place, loaded, in_arena, STRENGTH, kept))


def _as_in_an_arena(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def beside(layer: nn.Module, inputs: Tensor, *found: Change) -> Tensor:
    paths = lay_side_paths([{layer: list(found)}] * len(inputs))
    with torch.inference_mode(), standing_in(paths):
        return layer(inputs)


def with_weight(layer: Any, inputs: Tensor, weight: Tensor) -> Tensor:
    other = copy.deepcopy(layer)
    other.weight = nn.Parameter(weight, requires_grad=False)
    with torch.inference_mode():
        return other(inputs)


def r(*shape: int) -> Tensor:
    return torch.randn(*shape) / 2


LINEAR, CONVOLUTION, POINT = (12, 8), (12, 8, 3, 3), (12, 8, 1, 1)


def hada(a: str, b: str, **factors: Tensor) -> Tensor:
    return (factors[f"{a}_a"] @ factors[f"{a}_b"]) * (factors[f"{b}_a"] @ factors[f"{b}_b"])


def cp(t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("ijkl,ip,jr->prkl", t, a, b).contiguous()


def cases() -> dict[str, tuple[tuple[int, ...], dict[str, Tensor], Any]]:
    """Shape of the weight, factors, and the difference that the papers' formulas make of them, unscaled."""
    return {
        "LoRA": (LINEAR, {"down": r(R, 8), "up": r(12, R)}, lambda f: f["up"] @ f["down"]),
        "LoRA of a convolution's shape": (
            LINEAR,
            {"down": r(R, 8, 1, 1), "up": r(12, R, 1, 1)},
            lambda f: f["up"].flatten(1) @ f["down"].flatten(1),
        ),
        "LoCon": (
            CONVOLUTION,
            {"down": r(R, 8, 3, 3), "up": r(12, R, 1, 1)},
            lambda f: torch.einsum("or,rikl->oikl", f["up"].flatten(1), f["down"]),
        ),
        "LoCon of one pixel": (
            POINT,
            {"down": r(R, 8), "up": r(12, R)},
            lambda f: f["up"] @ f["down"],
        ),
        "LoCon with a middle factor": (
            CONVOLUTION,
            {"down": r(R, 8, 1, 1), "mid": r(R, R, 3, 3), "up": r(12, R, 1, 1)},
            lambda f: cp(f["mid"], f["up"].flatten(1).T, f["down"].flatten(1)),
        ),
        "LoHa": (
            LINEAR,
            {"hada_w1_a": r(12, R), "hada_w1_b": r(R, 8), "hada_w2_a": r(12, R), "hada_w2_b": r(R, 8)},
            lambda f: hada("hada_w1", "hada_w2", **f),
        ),
        "LoHa of a convolution": (
            CONVOLUTION,
            {"hada_w1_a": r(12, R), "hada_w1_b": r(R, 72), "hada_w2_a": r(12, R), "hada_w2_b": r(R, 72)},
            lambda f: hada("hada_w1", "hada_w2", **f),
        ),
        "LoHa with cores": (
            CONVOLUTION,
            {f"hada_{name}": r(*shape) for name, shape in {
                "t1": (R, R, 3, 3), "w1_a": (R, 12), "w1_b": (R, 8), "t2": (R, R, 3, 3), "w2_a": (R, 12), "w2_b": (R, 8)
            }.items()},
            lambda f: cp(f["hada_t1"], f["hada_w1_a"], f["hada_w1_b"]) * cp(f["hada_t2"], f["hada_w2_a"], f["hada_w2_b"]),
        ),
        "LoKr": (
            LINEAR,
            {"lokr_w1": r(3, 2), "lokr_w2": r(4, 4)},
            lambda f: torch.kron(f["lokr_w1"], f["lokr_w2"]),
        ),
        "LoKr of factors": (
            LINEAR,
            {"lokr_w1_a": r(3, R), "lokr_w1_b": r(R, 2), "lokr_w2_a": r(4, R), "lokr_w2_b": r(R, 4)},
            lambda f: torch.kron(f["lokr_w1_a"] @ f["lokr_w1_b"], f["lokr_w2_a"] @ f["lokr_w2_b"]),
        ),
        "LoKr of a convolution": (
            CONVOLUTION,
            {"lokr_w1": r(3, 2), "lokr_w2_a": r(4, R), "lokr_w2_b": r(R, 4 * 9)},
            lambda f: torch.kron(f["lokr_w1"], f["lokr_w2_a"] @ f["lokr_w2_b"]),
        ),
        "LoKr with a core": (
            CONVOLUTION,
            {"lokr_w1": r(3, 2), "lokr_t2": r(R, R, 3, 3), "lokr_w2_a": r(R, 4), "lokr_w2_b": r(R, 4)},
            lambda f: torch.kron(f["lokr_w1"][:, :, None, None], cp(f["lokr_t2"], f["lokr_w2_a"], f["lokr_w2_b"])),
        ),
        "full": (LINEAR, {"diff": r(12, 8)}, lambda f: f["diff"]),
        "full, convolution": (CONVOLUTION, {"diff": r(12, 8, 3, 3)}, lambda f: f["diff"]),
    }  # fmt: skip


def layer_of(shape: tuple[int, ...]) -> tuple[Any, Tensor]:
    """A layer with a weight of a shape, and inputs for it."""
    if len(shape) == 2:
        return nn.Linear(shape[1], shape[0]), r(2, 5, shape[1])
    padding = (shape[2] - 1) // 2
    layer = nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), stride=2 if padding else 1, padding=padding)
    return layer, r(2, shape[1], 6, 6)


@pytest.mark.parametrize("name", list(cases()))
def test_it_equals_the_layer_with_the_changed_weight(name: str) -> None:
    shape, factors, formula = cases()[name]
    layer, inputs = layer_of(shape)
    wanted = with_weight(layer, inputs, layer.weight + STRENGTH * SCALE * formula(factors).reshape(shape))
    (change,) = changes(layer, factors)
    torch.testing.assert_close(beside(layer, inputs, change), wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(change.weight().reshape(shape), STRENGTH * SCALE * formula(factors).reshape(shape))
    (not_kept,) = changes(layer, factors, kept=Kept(most_nbytes=0))
    torch.testing.assert_close(beside(layer, inputs, not_kept), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("axis", ["outputs", "inputs"])
@pytest.mark.parametrize("name", [name for name in cases() if not name.startswith("full")])
def test_with_lengths_the_changed_weight_is_scaled_to_them(name: str, axis: str) -> None:
    """Lengths of outputs are PEFT's and LyCORIS's, those of inputs are LyCORIS's alone."""
    shape, factors, formula = cases()[name]
    layer, inputs = layer_of(shape)
    rest = [1] * (len(shape) - 2)
    lengths = torch.rand(shape[0], 1, *rest) + 0.5 if axis == "outputs" else torch.rand(1, shape[1], *rest) + 0.5
    changed = layer.weight + STRENGTH * SCALE * formula(factors).reshape(shape)
    dims = list(range(1, len(shape))) if axis == "outputs" else [0, *range(2, len(shape))]
    wanted = with_weight(layer, inputs, changed * lengths / changed.square().sum(dim=dims, keepdim=True).sqrt())
    (change,) = changes(layer, {**factors, "dora_scale": lengths})
    torch.testing.assert_close(beside(layer, inputs, change), wanted, atol=1e-5, rtol=1e-4)


def test_a_change_with_lengths_reads_the_layer_and_not_the_changes_before_it() -> None:
    layer, inputs = layer_of(LINEAR)
    factors = {"down": r(R, 8), "up": r(12, R)}
    plain = changes(layer, factors)
    scaled = changes(layer, {**factors, "magnitude": torch.rand(12) + 0.5})
    with torch.inference_mode():
        alone = [beside(layer, inputs, *found) - layer(inputs) for found in (plain, scaled)]
        both = beside(layer, inputs, *plain, *scaled) - layer(inputs)
    torch.testing.assert_close(both, alone[0] + alone[1], atol=1e-5, rtol=1e-4)


def test_biases_norms_and_embeddings_are_changed_by_differences() -> None:
    scale, shift = r(8), r(8)
    for layer, inputs in (
        (nn.LayerNorm(8), r(2, 5, 8)),
        (nn.GroupNorm(2, 8), r(2, 8, 4, 4)),
        (nn.GroupNorm(2, 8), r(2, 8, 4)),
    ):
        wanted = copy.deepcopy(layer)
        wanted.weight.data += STRENGTH * SCALE * scale
        wanted.bias.data += STRENGTH * shift
        found = beside(layer, inputs, *changes(layer, {"diff": scale, "diff_b": shift}))
        torch.testing.assert_close(found, wanted(inputs).detach(), atol=1e-5, rtol=1e-4)
    table, ids = nn.Embedding(9, 8), torch.tensor([[1, 5, 8]])
    wanted = with_weight(table, ids, table.weight + STRENGTH * SCALE * (difference := r(9, 8)))
    torch.testing.assert_close(beside(table, ids, *changes(table, {"diff": difference})), wanted)
    convolution, images = layer_of(CONVOLUTION)
    (bias,) = changes(convolution, {"diff_b": (shift := r(12))})
    with torch.inference_mode():
        wanted = convolution(images) + STRENGTH * shift[:, None, None]
    torch.testing.assert_close(beside(convolution, images, bias), wanted)


@pytest.mark.parametrize("name", ["LoRA", "LoHa", "LoKr", "full"])
def test_of_a_projection_that_openclip_fuses_each_part_takes_its_rows(name: str) -> None:
    shape, factors, formula = cases()[name]
    part, inputs = layer_of((shape[0] // 3, shape[1]))
    difference = formula(factors)[4:8]
    wanted = with_weight(part, inputs, part.weight + STRENGTH * SCALE * difference)
    torch.testing.assert_close(beside(part, inputs, *changes(part, factors, first_row=4)), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("role", ["dora_scale", "magnitude"])
def test_of_a_projection_that_openclip_fuses_each_part_takes_its_lengths(role: str) -> None:
    shape, factors, formula = cases()["LoRA"]
    part, inputs = layer_of((shape[0] // 3, shape[1]))
    lengths = torch.rand(shape[0], 1) + 0.5
    changed = part.weight + STRENGTH * SCALE * formula(factors)[4:8]
    wanted = with_weight(part, inputs, changed * lengths[4:8] / changed.norm(dim=1, keepdim=True))
    (change,) = changes(part, {**factors, role: lengths if role == "dora_scale" else lengths.flatten()}, first_row=4)
    torch.testing.assert_close(beside(part, inputs, change), wanted, atol=1e-5, rtol=1e-4)


def _of_peft(kind: str, module: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    """The module with an adapter of PEFT, and the tensors of its file by role."""
    options: dict[str, Any] = {"r": R, "target_modules": ["0"], "init_weights": False}
    config = (
        peft.LoHaConfig(alpha=R * SCALE, **options) if kind == "hada" else peft.LoKrConfig(alpha=R * SCALE, **options)
    )
    wrapped = peft.get_peft_model(copy.deepcopy(module), config)  # pyright: ignore[reportArgumentType]
    state = peft.get_peft_model_state_dict(wrapped)
    return wrapped, {key.rpartition(".")[2]: tensor.detach() for key, tensor in state.items() if kind in key}


@pytest.mark.parametrize("kind", ["hada", "lokr"])
@pytest.mark.parametrize("shape", [(24, 16), (24, 16, 3, 3)])
def test_loha_and_lokr_equal_peft_s(kind: str, shape: tuple[int, ...]) -> None:
    layer, inputs = layer_of(shape)
    theirs, factors = _of_peft(kind, nn.Sequential(layer))
    with torch.inference_mode():
        wanted = layer(inputs) + STRENGTH * (theirs(inputs) - layer(inputs))
    found = beside(layer, inputs, *changes(layer, factors))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


def test_an_upsampling_by_phases_keeps_the_changes_of_its_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = PhaseUpsample(8, use_conv=True, out_channels=12)
    inputs = r(2, 8, 6, 6)
    found = changes(layer.conv, {"down": r(R, 8, 3, 3), "up": r(12, R, 1, 1)})
    images: list[Tensor] = []
    for threshold in (10**18, 0):
        monkeypatch.setattr(upsampling, "_WORTH_IT", threshold)
        with torch.inference_mode(), standing_in(lay_side_paths([{layer.conv: found}] * 2)):
            images.append(layer(inputs))
    torch.testing.assert_close(*images, atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        assert not torch.allclose(layer(inputs), images[0])
