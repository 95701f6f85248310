"""Adapters from headers: every naming that trainers use, what each file changes, and what is refused."""

from collections.abc import Mapping

import pytest

from litestar_diffusion.domain.families.reading import CheckpointFile, NotServable
from litestar_diffusion.domain.families.sdxl.adapter_files.contents import read_contents
from litestar_diffusion.domain.families.sdxl.adapter_files.layers import known_layers
from litestar_diffusion.domain.families.sdxl.family import SDXL
from litestar_diffusion.domain.models.adapters import AdapterReading

Shapes = dict[str, tuple[int, ...]]
R = 4
"""Rank of all factors here."""


def pair(name: str, outputs: int, inputs: int, down: str = "lora_down.weight", up: str = "lora_up.weight") -> Shapes:
    return {f"{name}{down}": (R, inputs), f"{name}{up}": (outputs, R)}


def kohya(name: str, outputs: int, inputs: int, *kernel: int) -> Shapes:
    """As sd-scripts and LyCORIS write it: with an alpha, and with the kernel in the first factor of a convolution."""
    up = (outputs, R, 1, 1) if kernel else (outputs, R)
    return {f"{name}.lora_down.weight": (R, inputs, *kernel), f"{name}.lora_up.weight": up, f"{name}.alpha": ()}


QUERY = "transformer_blocks_0_attn2_to_q"
READ = "transformer_blocks_0_attn2_to_k"
DOTTED = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
TEXT = "text_model.encoder.layers.3.self_attn.q_proj"
FORMATS: dict[str, tuple[Shapes, str, str, tuple[str, ...]]] = {
    "sd-scripts": (
        {
            **kohya(f"lora_unet_input_blocks_4_1_{READ}", 640, 2048),
            **kohya(f"lora_unet_output_blocks_0_1_{QUERY}", 1280, 1280),
            **kohya("lora_unet_middle_block_1_proj_in", 1280, 1280),
            **kohya("lora_te1_text_model_encoder_layers_3_self_attn_q_proj", 768, 768),
            **kohya("lora_te2_text_model_encoder_layers_31_mlp_fc1", 5120, 1280),
        },
        "kohya",
        "lora",
        ("unet", "text_encoder", "text_encoder_2"),
    ),
    "sd-scripts with diffusers' blocks": (
        kohya(f"lora_unet_down_blocks_1_attentions_0_{READ}", 640, 2048),
        "kohya",
        "lora",
        ("unet",),
    ),
    "sd-scripts, convolutions": (
        {
            **kohya("lora_unet_input_blocks_0_0", 320, 4, 3, 3),
            **kohya("lora_unet_input_blocks_3_0_op", 320, 320, 3, 3),
            **kohya("lora_unet_input_blocks_4_0_in_layers_2", 640, 320, 3, 3),
            **kohya("lora_unet_input_blocks_4_0_emb_layers_1", 640, 1280),
            **kohya("lora_unet_input_blocks_4_0_skip_connection", 640, 320, 1, 1),
            **kohya("lora_unet_output_blocks_2_2_conv", 1280, 1280, 3, 3),
            **kohya("lora_unet_time_embed_0", 1280, 320),
            **kohya("lora_unet_label_emb_0_0", 1280, 2816),
            **kohya("lora_unet_out_2", 4, 320, 3, 3),
        },
        "kohya",
        "lora",
        ("unet",),
    ),
    "LoCon with a middle factor": (
        {
            "lora_unet_input_blocks_4_0_in_layers_2.lora_down.weight": (R, 320, 1, 1),
            "lora_unet_input_blocks_4_0_in_layers_2.lora_mid.weight": (R, R, 3, 3),
            "lora_unet_input_blocks_4_0_in_layers_2.lora_up.weight": (640, R, 1, 1),
            "lora_unet_input_blocks_4_0_in_layers_2.alpha": (),
        },
        "kohya",
        "lora",
        ("unet",),
    ),
    "OpenCLIP's names": (
        {
            **kohya("lora_te2_transformer_resblocks_0_attn_in_proj", 3840, 1280),
            **kohya("lora_te2_transformer_resblocks_0_mlp_c_fc", 5120, 1280),
            **kohya("lora_te2_text_projection", 1280, 1280),
        },
        "kohya",
        "lora",
        ("text_encoder_2",),
    ),
    "diffusers": (
        {
            **pair(f"unet.{DOTTED}.", 640, 2048, "lora.down.weight", "lora.up.weight"),
            **pair(f"text_encoder.{TEXT}.", 768, 768, "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
            **pair(
                f"text_encoder_2.{TEXT}.", 1280, 1280, "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"
            ),
        },
        "diffusers",
        "lora",
        ("unet", "text_encoder", "text_encoder_2"),
    ),
    "diffusers' old attention processors": (
        {
            **pair(
                "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.",
                640,
                2048,
                "to_k_lora.down.weight",
                "to_k_lora.up.weight",
            ),
            **pair(
                "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.",
                640,
                640,
                "to_out_lora.down.weight",
                "to_out_lora.up.weight",
            ),
            **pair(
                "text_encoder.text_model.encoder.layers.3.self_attn.",
                768,
                768,
                "to_out_lora.down.weight",
                "to_out_lora.up.weight",
            ),
        },
        "diffusers",
        "lora",
        ("unet", "text_encoder"),
    ),
    "diffusers with PEFT": (
        {
            **pair(f"unet.{DOTTED}.", 640, 2048, "lora_A.weight", "lora_B.weight"),
            **pair(f"text_encoder.{TEXT}.", 768, 768, "lora_A.weight", "lora_B.weight"),
        },
        "peft",
        "lora",
        ("unet", "text_encoder"),
    ),
    "PEFT": (
        pair(f"base_model.model.{DOTTED}.", 640, 2048, "lora_A.weight", "lora_B.weight"),
        "peft",
        "lora",
        ("unet",),
    ),
    "PEFT's state dict": (
        pair(f"base_model.model.{DOTTED}.", 640, 2048, "lora_A.default.weight", "lora_B.default.weight"),
        "peft",
        "lora",
        ("unet",),
    ),
    "a UNet alone without a prefix": (
        pair(f"{DOTTED}.", 640, 2048, "lora_A.weight", "lora_B.weight"),
        "peft",
        "lora",
        ("unet",),
    ),
    "ComfyUI": (
        {
            "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.lora_down.weight": (R, 2048),
            "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.lora_up.weight": (640, R),
            "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.lora_down.weight": (R, 768),
            "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.lora_up.weight": (3072, R),
        },
        "kohya",
        "lora",
        ("unet", "text_encoder"),
    ),
    "LoHa": (
        {
            **{
                f"lora_unet_input_blocks_4_1_{READ}.hada_{part}": shape
                for part, shape in {"w1_a": (640, R), "w1_b": (R, 2048), "w2_a": (640, R), "w2_b": (R, 2048)}.items()
            },
            f"lora_unet_input_blocks_4_1_{READ}.alpha": (),
            **{
                f"lora_unet_input_blocks_4_0_in_layers_2.hada_{part}": shape
                for part, shape in {
                    "w1_a": (640, R),
                    "w1_b": (R, 320 * 9),
                    "w2_a": (640, R),
                    "w2_b": (R, 320 * 9),
                }.items()
            },
            **{
                f"lora_unet_input_blocks_5_0_in_layers_2.hada_{part}": shape
                for part, shape in {
                    "t1": (R, R, 3, 3),
                    "w1_a": (R, 640),
                    "w1_b": (R, 640),
                    "t2": (R, R, 3, 3),
                    "w2_a": (R, 640),
                    "w2_b": (R, 640),
                }.items()
            },
        },
        "kohya",
        "loha",
        ("unet",),
    ),
    "LoKr": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.lokr_w1": (16, 16),
            f"lora_unet_input_blocks_4_1_{READ}.lokr_w2_a": (40, R),
            f"lora_unet_input_blocks_4_1_{READ}.lokr_w2_b": (R, 128),
            f"lora_unet_input_blocks_4_1_{READ}.alpha": (),
            "lora_unet_input_blocks_4_0_in_layers_2.lokr_w1_a": (16, R),
            "lora_unet_input_blocks_4_0_in_layers_2.lokr_w1_b": (R, 16),
            "lora_unet_input_blocks_4_0_in_layers_2.lokr_w2": (40, 20, 3, 3),
            "lora_unet_input_blocks_5_0_in_layers_2.lokr_w1": (16, 16),
            "lora_unet_input_blocks_5_0_in_layers_2.lokr_t2": (R, R, 3, 3),
            "lora_unet_input_blocks_5_0_in_layers_2.lokr_w2_a": (R, 40),
            "lora_unet_input_blocks_5_0_in_layers_2.lokr_w2_b": (R, 40),
        },
        "kohya",
        "lokr",
        ("unet",),
    ),
    "full differences": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.diff": (640, 2048),
            "lora_unet_input_blocks_4_0_in_layers_2.diff": (640, 320, 3, 3),
            "lora_unet_input_blocks_4_0_in_layers_2.diff_b": (640,),
            "lora_unet_input_blocks_4_1_norm.w_norm": (640,),
            "lora_unet_input_blocks_4_1_norm.b_norm": (640,),
            "lora_unet_out_2.diff_b": (4,),
        },
        "kohya",
        "full",
        ("unet",),
    ),
}


LAYERS = {
    "sd-scripts": 5,
    "sd-scripts with diffusers' blocks": 1,
    "sd-scripts, convolutions": 9,
    "LoCon with a middle factor": 1,
    "OpenCLIP's names": 3,
    "diffusers": 3,
    "diffusers' old attention processors": 3,
    "diffusers with PEFT": 2,
    "PEFT": 1,
    "PEFT's state dict": 1,
    "a UNet alone without a prefix": 1,
    "ComfyUI": 2,
    "LoHa": 3,
    "LoKr": 3,
    "full differences": 4,
}


def file(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, configs: Mapping[str, bytes] | None = None
) -> CheckpointFile:
    return CheckpointFile(shapes=shapes, metadata=metadata or {}, name="style", read_config=(configs or {}).get)


def reading(shapes: Shapes, metadata: Mapping[str, str] | None = None, **configs: bytes) -> AdapterReading:
    found = SDXL.read_adapter(file(shapes, metadata, {name.replace("__", "."): raw for name, raw in configs.items()}))
    assert found is not None
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised(name: str) -> None:
    shapes, written_by, algorithm, components = FORMATS[name]
    found = reading(shapes)
    assert (found.family, found.format, found.algorithms, found.components) == (
        "sdxl",
        written_by,
        (algorithm,),
        components,
    )
    assert found.layers == LAYERS[name]
    assert found.ranks == (() if algorithm == "full" else (R,))
    assert not found.dora
    assert "SDXL's names and sizes" in found.evidence[0]


ORIGINAL = ("input_blocks", "middle_block", "output_blocks", "time_embed_", "label_emb", "out_")


def test_every_layer_of_the_networks_has_a_kohya_name_in_both_layouts() -> None:
    layers = known_layers("unet")[0]
    paths = {layer.path for places in layers.values() for layer in places}
    flat = {name for name in layers if "." not in name}
    originals = {layer.path for name in flat for layer in layers[name] if name.startswith(ORIGINAL)}
    assert all(layers[path.replace(".", "_")] == layers[path] for path in paths)
    assert originals == paths


def test_the_fused_projection_of_openclip_means_three_layers() -> None:
    layers = known_layers("text_encoder_2")[0]["transformer_resblocks_0_attn_in_proj"]
    assert [layer.path.rpartition(".")[2] for layer in layers] == ["q_proj", "k_proj", "v_proj"]
    assert [layer.first_row for layer in layers] == [0, 1280, 2560]


@pytest.mark.parametrize(
    "magnitude",
    [
        {f"lora_unet_input_blocks_4_1_{READ}.dora_scale": (640, 1)},
        {f"lora_unet_input_blocks_4_1_{READ}.dora_scale": (1, 2048)},
    ],
)
def test_dora_by_kohya_s_key(magnitude: Shapes) -> None:
    assert reading({**kohya(f"lora_unet_input_blocks_4_1_{READ}", 640, 2048), **magnitude}).dora


def test_dora_by_peft_s_key() -> None:
    shapes, *_ = FORMATS["PEFT"]
    assert reading({**shapes, f"base_model.model.{DOTTED}.lora_magnitude_vector": (640,)}).dora


def test_a_magnitude_of_another_size_is_refused() -> None:
    with pytest.raises(NotServable, match="magnitude"):
        reading({**FORMATS["PEFT"][0], f"base_model.model.{DOTTED}.lora_magnitude_vector": (639,)})


def test_alpha_trigger_words_and_title_are_read_from_the_metadata() -> None:
    metadata = {
        "ss_network_alpha": "8.0",
        "ss_tag_frequency": '{"10_style": {"outline": 30, "circle ": 10}, "5_more": {"outline": 1, "square": 20}}',
        "modelspec.title": "Outline",
        "modelspec.trigger_phrase": "outline drawing",
    }
    found = reading(FORMATS["sd-scripts"][0], metadata)
    assert (found.title, found.alphas) == ("Outline", (8.0,))
    assert found.trigger_words == ("outline drawing", "outline", "square", "circle")


@pytest.mark.parametrize("raw", ["", "[]", "{", '{"a": 1}', '{"a": {"b": "c"}}'])
def test_metadata_that_makes_no_sense_is_ignored(raw: str) -> None:
    found = reading(FORMATS["sd-scripts"][0], {"ss_tag_frequency": raw, "ss_network_alpha": raw})
    assert (found.trigger_words, found.alphas) == ((), ())


def test_alphas_of_peft_are_read_from_diffusers_metadata_or_the_config_beside_the_file() -> None:
    shapes, *_ = FORMATS["PEFT"]
    assert "no alpha is stated" in reading(shapes).evidence[-1]
    stated = {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 2, "unet.alpha_pattern": {"attn2.to_k": 1}}'}
    assert reading(shapes, stated).alphas == (1.0, 2.0)
    assert reading(shapes, adapter_config__json=b'{"peft_type": "LORA", "lora_alpha": 16}').alphas == (16.0,)


def test_packed_textual_inversions_are_left_out_and_said() -> None:
    found = reading(
        {**FORMATS["sd-scripts"][0], "bundle_emb.style.clip_l": (4, 768), "bundle_emb.style.clip_g": (4, 1280)}
    )
    assert found.evidence[-1] == "2 tensors of textual inversions (bundle_emb) are in the file and are not used"


def test_a_smaller_relative_of_sdxl_is_recognised_by_its_names() -> None:
    found = reading({**kohya(f"lora_unet_input_blocks_3_1_{READ}", 64, 160), **kohya("lora_unet_out_2", 4, 32, 3, 3)})
    assert "sizes of its own" in found.evidence[0]
    assert "160 wide" in found.evidence[0]


@pytest.mark.parametrize("shapes", [{"model.diffusion_model.out.2.weight": (4, 320, 3, 3)}, {"clip_l": (1, 768)}])
def test_a_file_that_is_no_adapter_is_none(shapes: Shapes) -> None:
    assert SDXL.read_adapter(file(shapes)) is None


REFUSED: dict[str, tuple[Shapes, str]] = {
    "SD 1.5 by its blocks": (kohya(f"lora_unet_down_blocks_0_attentions_0_{QUERY}", 320, 320), "Stable Diffusion 1.x"),
    "SD 1.5 by its prompts": (kohya(f"lora_unet_mid_block_attentions_0_{READ}", 1280, 768), "Stable Diffusion 1.x"),
    "SD 2.1 by its prompts": (kohya(f"lora_unet_mid_block_attentions_0_{READ}", 1280, 1024), "Stable Diffusion 2.x"),
    "Flux, kohya": (kohya("lora_unet_double_blocks_0_img_attn_proj", 3072, 3072), "Flux"),
    "Flux, diffusers": (
        pair("transformer.single_transformer_blocks.0.attn.to_q.", 3072, 3072, "lora_A.weight", "lora_B.weight"),
        "Flux",
    ),
    "SD 3": (kohya("lora_unet_joint_blocks_0_x_block_attn_proj", 1536, 1536), "Stable Diffusion 3"),
    "a video transformer": (
        pair("diffusion_model.blocks.0.self_attn.q.", 1536, 1536, "lora_A.weight", "lora_B.weight"),
        "a transformer",
    ),
    "layers that are nowhere": (
        {k: v for n in range(5) for k, v in kohya(f"lora_unet_cellar_{n}", 8, 8).items()},
        "lora_unet_cellar_0.*lora_unet_cellar_1.*lora_unet_cellar_2.*and 2 more",
    ),
    "tensors that no adapter has": (
        {**FORMATS["sd-scripts"][0], "wings": (1,), "beak": (2,)},
        "'wings'; 'beak'",
    ),
    "mixed sizes": (
        {**FORMATS["sd-scripts"][0], **kohya("lora_unet_out_2", 4, 32, 3, 3)},
        "out_2 of the UNet.*shape \\[4, 288\\].*\\[4, 2880\\]",
    ),
    "a factor without its pair": ({f"lora_unet_input_blocks_4_1_{READ}.lora_down.weight": (R, 2048)}, "it has no 'up'"),
    "factors of different ranks": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.lora_down.weight": (R, 2048),
            f"lora_unet_input_blocks_4_1_{READ}.lora_up.weight": (640, R + 1),
        },
        "ranks of its two factors differ",
    ),
    "half of a LoHa": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.hada_w1_a": (640, R),
            f"lora_unet_input_blocks_4_1_{READ}.hada_w1_b": (R, 2048),
        },
        "it has no 'hada_w2_a'",
    ),
    "an absurd rank": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.lora_down.weight": (50_000, 2048),
            f"lora_unet_input_blocks_4_1_{READ}.lora_up.weight": (640, 50_000),
        },
        "rank 50000, the limit is 4096",
    ),
    "rank 0": (
        {
            f"lora_unet_input_blocks_4_1_{READ}.lora_down.weight": (0, 2048),
            f"lora_unet_input_blocks_4_1_{READ}.lora_up.weight": (640, 0),
        },
        "without numbers",
    ),
    "OFT": ({f"lora_unet_input_blocks_4_1_{READ}.oft_blocks": (4, 160, 160)}, "OFT"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(name: str) -> None:
    shapes, reason = REFUSED[name]
    with pytest.raises(NotServable, match=reason):
        SDXL.read_adapter(file(shapes))


def test_factors_must_be_floating_point_numbers_but_alphas_need_not() -> None:
    shapes, *_ = FORMATS["sd-scripts"]
    key = next(iter(shapes))
    odd = CheckpointFile(shapes=shapes, metadata={}, name="", read_config={}.get, odd={key: "I8"})
    with pytest.raises(NotServable, match="dtype I8"):
        SDXL.read_adapter(odd)
    alpha = key.replace("lora_down.weight", "alpha")
    assert SDXL.read_adapter(
        CheckpointFile(shapes=shapes, metadata={}, name="", read_config={}.get, odd={alpha: "I64"})
    )


def test_the_tensors_of_a_layer_are_found_by_their_roles() -> None:
    contents = read_contents(file(FORMATS["LoCon with a middle factor"][0]))
    assert contents is not None
    (layer,) = contents.layers
    assert set(layer.keys) == {"down", "mid", "up", "alpha"}
    assert layer.form.changed == (640, 320 * 9)
