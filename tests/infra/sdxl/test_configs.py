"""The shipped configs build SDXL 1.0's networks, without allocating a weight."""

import pytest

from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network, load_tokenizer

PARAMETERS = {
    "unet": 2_567_463_684,
    "vae": 83_653_863,
    "text_encoder": 123_060_480,
    "text_encoder_2": 694_659_840,
}


@pytest.mark.parametrize("component", PARAMETERS)
def test_parameter_counts_are_those_of_sdxl(component: str) -> None:
    network = build_network(component, SHIPPED_CONFIGS)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[component]
    assert all(parameter.is_meta for parameter in network.parameters())


def test_both_tokenizers_share_a_vocabulary_and_pad_differently() -> None:
    one, two = (load_tokenizer(SHIPPED_CONFIGS, name) for name in ("tokenizer", "tokenizer_2"))
    assert one("a cat").input_ids == two("a cat").input_ids == [49406, 320, 2368, 49407]
    padded = [tokenizer("a cat", padding="max_length").input_ids for tokenizer in (one, two)]
    assert [len(ids) for ids in padded] == [77, 77]
    assert (padded[0][-1], padded[1][-1]) == (49407, 0)
