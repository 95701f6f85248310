"""Upscalers from their files to enlarged pictures, beside spandrel called alone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spandrel import ImageModelDescriptor, ModelLoader

from litestar_diffusion.domain.errors import OutOfMemory
from litestar_diffusion.domain.families.reading import NotServable
from litestar_diffusion.domain.families.upscaler.detection import expected_numbers, read_network
from litestar_diffusion.domain.families.upscaler.networks import UpscalerNetwork
from litestar_diffusion.domain.models.assets import AssetSet
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.models.upscalers import pooled_name
from litestar_diffusion.domain.requests.pictures.picture import Picture
from litestar_diffusion.domain.requests.rendering import MemorySavings, RawImage
from litestar_diffusion.domain.requests.upscaling.upscale_request import UpscaleRequest
from litestar_diffusion.infra.catalogue.additions.upscaler_files import describe_upscaler
from litestar_diffusion.infra.catalogue.scan import candidate_of
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.upscaler.load import UpscalerModel, load_upscaler
from litestar_diffusion.infra.upscaler.run import UpscaleForward, UpscaleRun
from tests.pictures import psnr_of
from tests.upscalers import LAYOUTS, State, compact, write
from training.drawing import draw
from training.scenes import held_out_scenes

SHIPPED = Path(__file__).parents[3] / "models" / "upscalers" / "demo-x2.safetensors"


def described(path: Path) -> ModelSpec:
    return describe_upscaler(candidate_of(path)).spec


def loaded(path: Path, loading: Loading | None = None) -> UpscalerModel:
    return load_upscaler(
        described(path), path, Precision.of(torch.float32), lambda _progress: None, loading or Loading()
    )


def picture(width: int, height: int) -> Picture:
    pixels = draw(held_out_scenes(1)[0], width, height).tobytes()
    digest = hashlib.sha256(pixels).hexdigest()
    return Picture(digest=digest, width=width, height=height, channels=3, pixels=pixels)


def enlarged(model: UpscalerModel, source: Picture, *, passes: int = 1, small: bool = False) -> RawImage:
    request = UpscaleRequest(
        assets=AssetSet(pooled_name("x")),
        pictures=(source,),
        count=1,
        width=source.width,
        height=source.height,
        scale=model.scale,
        passes=passes,
    )
    run = UpscaleRun(model, request, MemorySavings(small_tiles=small))
    forward = UpscaleForward()
    steps = 0
    while not run.finished:
        assert not forward.step([run])
        steps += 1
        assert run.done == steps
    assert steps == run.total, "the progress ends where it said"
    return run.images[0]


def by_spandrel(path: Path, source: Picture) -> RawImage:
    """The picture in one piece, by spandrel's own loader."""
    descriptor = ModelLoader().load_from_file(path)
    assert isinstance(descriptor, ImageModelDescriptor)
    rows = np.frombuffer(source.pixels, np.uint8).reshape(1, source.height, source.width, 3)
    with torch.inference_mode():
        out = descriptor(torch.from_numpy(rows.copy()).permute(0, 3, 1, 2).float() / 255)
    made = out[0].mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return RawImage(width=made.shape[1], height=made.shape[0], pixels=made.tobytes())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_header_tells_what_spandrel_builds_and_small_pictures_are_equal(layout: str, tmp_path: Path) -> None:
    path = write(tmp_path / "net.safetensors", LAYOUTS[layout]())
    spec = described(path)
    assert spec.unusable is None
    descriptor = ModelLoader().load_from_file(path)
    network = spec.networks
    assert isinstance(network, UpscalerNetwork)
    assert (network.architecture, network.scale) == (descriptor.architecture.id, descriptor.scale)
    numbers = sum(parameter.numel() for parameter in descriptor.model.parameters())
    assert numbers == expected_numbers(network)
    source = picture(37, 30)
    ours, theirs = enlarged(loaded(path), source), by_spandrel(path, source)
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    assert psnr_of(ours, theirs) > 55, "one tile: equal up to the order of sums"


def test_a_request_that_gives_way_between_two_tiles_goes_on_to_the_same_picture() -> None:
    model, source = loaded(SHIPPED), picture(300, 200)
    request = UpscaleRequest(
        assets=AssetSet(pooled_name("x")), pictures=(source,), count=1, width=300, height=200, scale=2, passes=2
    )
    run = UpscaleRun(model, request, MemorySavings())
    while not run.finished:
        assert not UpscaleForward().step([run])
        run.park()
        run.resume(loaded(SHIPPED), (), None)
    assert run.images[0] == enlarged(model, source, passes=2)


@pytest.mark.parametrize("small", [False, True])
def test_no_seam_between_tiles(small: bool) -> None:
    source = picture(430, 270)
    ours, theirs = enlarged(loaded(SHIPPED), source, small=small), by_spandrel(SHIPPED, source)
    assert psnr_of(ours, theirs) > 60


def test_two_passes_are_one_after_the_other() -> None:
    source = picture(40, 32)
    once = enlarged(loaded(SHIPPED), source)
    between = Picture(digest="", width=once.width, height=once.height, channels=3, pixels=once.pixels)
    twice = enlarged(loaded(SHIPPED), source, passes=2)
    assert (twice.width, twice.height) == (160, 128)
    assert psnr_of(twice, enlarged(loaded(SHIPPED), between)) > 45, "the picture between them is not rounded to 8 bits"


def test_the_shipped_upscaler_is_better_than_lanczos_on_scenes_that_it_was_not_trained_on() -> None:
    model, ours, lanczos = loaded(SHIPPED), 0.0, 0.0
    for scene in held_out_scenes(6, seed=5):
        large = draw(scene, 192, 192)
        small = large.resize((96, 96), Image.Resampling.BOX)
        wanted = RawImage(width=192, height=192, pixels=large.tobytes())
        source = Picture(digest="", width=96, height=96, channels=3, pixels=small.tobytes())
        by_lanczos = small.resize(large.size, Image.Resampling.LANCZOS).tobytes()
        ours += psnr_of(enlarged(model, source), wanted)
        lanczos += psnr_of(RawImage(width=192, height=192, pixels=by_lanczos), wanted)
    assert ours > lanczos


def test_equal_weights_under_two_names_are_in_memory_once(tmp_path: Path) -> None:
    loading = Loading()
    one, other = (loaded(write(tmp_path / f"{name}.safetensors", compact()), loading) for name in "ab")
    assert one.components[0].id == other.components[0].id
    assert one.module is other.module


def test_running_out_of_memory_names_the_stage_and_leaves_the_upscaler_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, source = loaded(SHIPPED), picture(40, 32)
    before = enlarged(model, source)
    request = UpscaleRequest(
        assets=AssetSet(pooled_name("x")), pictures=(source,), count=1, width=40, height=32, scale=2, passes=1
    )

    def fail(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(model.module, "forward", fail)
        run = UpscaleRun(model, request, MemorySavings())
        (error,) = UpscaleForward().step([run]).values()
    assert isinstance(error, OutOfMemory)
    assert error.stage == "upscale"
    assert enlarged(model, source) == before


def _without_last(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if "body.0.rdb3" not in name}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (_without_last(LAYOUTS["Real-ESRGAN x4"]()), "tensors are missing"),
        ({"lora_unet_down.lora_down.weight": torch.zeros(2, 2)}, "this is a LoRA"),
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2)}, "belongs into the models folder"),
        ({"layers.0.residual_group.blocks.0.norm1.weight": torch.zeros(2)}, "SwinIR"),
        ({"what.ever": torch.zeros(2)}, "begin with 'what'"),
        (compact(1), "its scale is 1"),
    ],
)
def test_other_files_are_refused_with_the_reason(state: State, reason: str, tmp_path: Path) -> None:
    spec = described(write(tmp_path / "x.safetensors", state))
    assert spec.unusable is not None
    assert reason in spec.unusable


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "4x.pth"
    path.write_bytes(b"\x80\x04")
    assert "it is a pickle" in (described(path).unusable or "")


def test_tensors_that_do_not_fit_their_header_are_refused_when_they_are_loaded(tmp_path: Path) -> None:
    state = dict(LAYOUTS["Real-ESRGAN x4"]())
    state["conv_up1.weight"] = torch.zeros(3, 3, 48, 16)
    path = write(tmp_path / "x.safetensors", state)
    assert read_network({name: tuple(tensor.shape) for name, tensor in state.items()})
    with pytest.raises(NotServable, match="do not fit"):
        loaded(path)
