"""Few-step models by the names that public files have."""

import pytest

from litestar_diffusion.domain.families.distillation import read_few_step
from litestar_diffusion.domain.families.sdxl.family import SDXL
from litestar_diffusion.domain.models.spec import ModelTraits

Expected = tuple[str, int, float, str]
FINE_TUNE: Expected = ("turbo", 7, 2.0, "dpmpp_sde")


def told(name: str) -> Expected | None:
    """Kind, steps, guidance and sampler that a name leads to."""
    few_step = read_few_step({}, name).few_step
    if few_step is None:
        return None
    usual = SDXL.defaults(ModelTraits(few_step=few_step))
    return few_step.kind, usual.steps, usual.guidance_scale, usual.sampler


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sd_xl_turbo_1.0_fp16", ("turbo", 1, 0.0, "euler_a")),
        ("sd_xl_turbo_1.0", ("turbo", 1, 0.0, "euler_a")),
        ("stabilityai/sdxl-turbo", ("turbo", 1, 0.0, "euler_a")),
        ("dreamshaperXL_turboDpmppSDE", FINE_TUNE),
        ("dreamshaperXL_v21TurboDPMSDE", FINE_TUNE),
        ("turbovisionxlSuperFastXLBasedOnNew_tvxlV431Bakedvae", FINE_TUNE),
        ("turbovisionxl431", FINE_TUNE),
        ("novaAnimeXL_ilV5TurboCharged", FINE_TUNE),
        ("RealitiesEdgeXLLIGHTNING_TURBOV7", FINE_TUNE),
        ("realvisxlV30Turbo_v30TurboBakedvae", FINE_TUNE),
        ("realvisxlV40_v40LightningBakedvae", ("lightning", 4, 0.0, "euler")),
        ("juggernautXL_v9Rdphoto2Lightning", ("lightning", 4, 0.0, "euler")),
        ("juggernautXL_v9_Lightning", ("lightning", 4, 0.0, "euler")),
        ("dreamshaperXL_lightningDPMSDE", ("lightning", 4, 0.0, "euler")),
        ("sdxl_lightning_8step", ("lightning", 8, 0.0, "euler")),
        ("realvisxlLightning4Steps", ("lightning", 4, 0.0, "euler")),
        ("Hyper-SDXL-1step", ("hyper", 1, 0.0, "euler")),
        ("juggernautXL_Hyper", ("hyper", 8, 0.0, "euler")),
        ("juggernautXL_juggXIByRundiffusionHyper", ("hyper", 8, 0.0, "euler")),
        ("IllustriousXL-hyper4", ("hyper", 4, 0.0, "euler")),
        ("my-lcm-model", ("lcm", 4, 0.0, "lcm")),
        ("dreamshaperLCM", ("lcm", 4, 0.0, "lcm")),
        ("dmd2_sdxl_4step", ("dmd2", 4, 0.0, "lcm")),
        ("SDXL-TCD", ("tcd", 4, 0.0, "tcd")),
        ("PCM_sdxl", ("pcm", 4, 0.0, "lcm")),
        ("pcm_sdxl_normalcfg_8step_converted", ("pcm", 8, 0.0, "lcm")),
        ("sdxlflash", ("flash", 7, 3.0, "dpmpp_sde")),
        ("SDXL-Flash", ("flash", 7, 3.0, "dpmpp_sde")),
        ("nightvisionXL_thunderAndLightning", None),
        ("juggernautXL_v9", None),
        ("sd_xl_base_1.0", None),
        ("ponyDiffusionV6XL_v6StartWithThisOne", None),
        ("animagine-xl-3.1", None),
        ("illustriousXL_v01", None),
        ("noobaiXLNAIXL_vPred10Version", None),
        ("copaxTimelessxlSDXL1_v8", None),
        ("calcmachine", None),
        ("hyperrealisticXL_v2", None),
        ("HyperRealistic", None),
        ("flashPhotographyXL", None),
        ("epoch_40_steps", None),
        ("ordinary", None),
    ],
)
def test_steps_guidance_and_sampler_by_name(name: str, expected: Expected | None) -> None:
    assert told(name) == expected
