"""Fields of the second pass mean what they mean in the web UI."""

import pytest

from litestar_diffusion.web.a1111.generation.hires import hires_of
from litestar_diffusion.web.a1111.generation.txt2img_wire import Txt2ImgRequest


@pytest.mark.parametrize(
    ("sampler", "scheduler", "discarding"),
    [("DPM2", "", True), ("Euler", "", False), ("", "Karras", True), ("", "", None)],
)
def test_each_pass_leaves_out_the_last_level_but_0_for_its_own_sampler(
    sampler: str, scheduler: str, discarding: bool | None
) -> None:
    asked = Txt2ImgRequest(
        prompt="x", sampler_name="DPM2", enable_hr=True, hr_sampler_name=sampler, hr_scheduler=scheduler
    )
    hires = hires_of(asked)
    assert hires is not None
    assert hires.discard_penultimate_sigma is discarding
