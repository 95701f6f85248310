"""Headers of SDXL models as tests need them: the tensors by which a file is recognised, without their weights."""

import json
from pathlib import Path

from litestar_diffusion.domain.families.sdxl.configs import ComponentConfigs
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS, network_tensors
from litestar_diffusion.domain.families.sdxl.tensors.layouts import sources_of

Shapes = dict[str, tuple[int, ...]]

KEYS: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
    "model.diffusion_model.input_blocks.7.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
    "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "first_stage_model.decoder.conv_out.weight": (3, 128, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    "conditioner.embedders.0.transformer.text_model.encoder.layers.11.mlp.fc1.weight": (3072, 768),
    "conditioner.embedders.1.model.token_embedding.weight": (49408, 1280),
    "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    "conditioner.embedders.1.model.transformer.resblocks.31.mlp.c_fc.weight": (5120, 1280),
}
"""The tensors that tell the sizes of SDXL base 1.0, as the header of its real file has them."""


def header_of(configs: ComponentConfigs) -> Shapes:
    """The header of a single file in the original layout, for networks of these configs."""
    sources = (
        sources_of(component, tensor)[0] for component in COMPONENTS for tensor in network_tensors(component, configs)
    )
    return {source.key: source.shape for source in sources}


SDXL: Shapes = {**header_of(ComponentConfigs()), **KEYS}
"""Every tensor of a single file of SDXL base 1.0."""


def sparse_file(path: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Path:
    """A valid safetensors file of fp16 zeros that takes no room on disk."""
    tensors: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + _nbytes(shape)
        tensors[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(tensors).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    return path


def _nbytes(shape: tuple[int, ...]) -> int:
    total = 2
    for side in shape:
        total *= side
    return total
