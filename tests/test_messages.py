"""What bad input is told: the rule and the values, word by word.

refused.txt holds calls of public functions, each above its message.
"""

import re
from pathlib import Path

import pytest
import torch

from vitlib import (
    VisionTransformer,
    ViTConfig,
    attention,
    encoder,
    inspection,
    patches,
    positions,
    tokens,
)
from vitlib import model as whole_model
from vitlib.inspection.fills import blur

LINES = Path(__file__).with_name("refused.txt").read_text().splitlines()
REFUSED = list(zip(LINES[::2], LINES[1::2], strict=True))


def tiny(num_classes=3, **fields):
    config = ViTConfig(8, 4, 1, num_classes, 8, 1, num_heads=2, **fields)
    return VisionTransformer(config)


@pytest.fixture(scope="module")
def names():
    """What the calls may name."""
    found = {"blur": blur, "nan": torch.nan, "inf": torch.inf}
    found["float8"] = torch.float8_e4m3fn
    for name in ("arange", "eye", "ones", "tensor", "zeros"):
        found[name] = getattr(torch, name)
    for module in (attention, encoder, inspection, patches, positions, tokens):
        found |= {k: v for k, v in vars(module).items() if k[0] != "_"}
    return found | {
        "create_model": whole_model.create_model,
        "TINY": tiny(),
        "MEAN": tiny(global_pool="avg"),
        "RELATIVE": tiny(pos_embed="relative"),
        "HEADLESS": tiny(num_classes=0),
        "IMAGES": torch.zeros(2, 1, 8, 8),
        "LAYER": torch.eye(5)[None, None],  # weights: each token keeps itself
    }


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_told(call, message, names):
    with pytest.raises(ValueError, match=f"^{re.escape(message.strip())}$"):
        eval(call, names)
