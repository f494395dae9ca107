"""Exercises of chapter 7, the whole ViT."""

import torch
from torch import Tensor

from vitlib.config import VARIANTS
from vitlib.exercises import Exercise
from vitlib.model import VisionTransformer, create_model

HUGE = 632_045_800  # H/14
TINY = 5_717_416  # Ti/16
DEIT = TINY + 192 + 192 + 192 * 1000 + 1000


def mean_logits(model: VisionTransformer, z: Tensor) -> Tensor:
    """Normalise, then average the patches, then the head."""
    return model.head(model.norm(z)[:, 1:].mean(dim=1))


def mean_first(model: VisionTransformer, z: Tensor) -> Tensor:
    """Average before LayerNorm."""
    return model.head(model.norm(z[:, 1:].mean(dim=1)))


def with_token(model: VisionTransformer, z: Tensor) -> Tensor:
    """Average the class token, too."""
    return model.head(model.norm(z).mean(dim=1))


def no_norm(model: VisionTransformer, z: Tensor) -> Tensor:
    """Leave LayerNorm out."""
    return model.head(z[:, 1:].mean(dim=1))


def token_only(model: VisionTransformer, z: Tensor) -> Tensor:
    """Read the class token."""
    return model.head(model.norm(z)[:, 0])


def some_models() -> list[tuple]:
    """Draw a model with a head that is not zero, and tokens."""
    model = create_model("Book/4", global_pool="avg", depth=1).eval()
    torch.nn.init.normal_(model.head.weight)
    tokens = model.config.num_tokens, model.config.embed_dim
    spread = torch.linspace(0.5, 3, tokens[0])[:, None]
    return [(model, spread * torch.randn(2, *tokens))]


EXERCISES = {
    "1": Exercise(
        asks="the number of parameters of H/14",
        hint="Patches and class token, T positions, 32 blocks, the last "
        "LayerNorm, the head. (224 / 14) squared patches, and one token.",
        right=HUGE,
        wrong={
            "The class token has a position, too: 1,280 are missing.": (
                HUGE - 1280
            ),
            "The last LayerNorm is missing: 2 x 1,280.": HUGE - 2 * 1280,
            "The head is missing.": HUGE - 1280 * 1000 - 1000,
            "The head's bias is missing: 1,000.": HUGE - 1000,
            "The biases of q, k and v are missing, 3 x 1,280 a block.": (
                HUGE - 32 * 3 * VARIANTS["H/14"].embed_dim
            ),
        },
        tolerance=0,
    ),
    "2": Exercise(
        asks="mean_logits(model, z): the logits (B, K) from tokens z "
        "(B, T, D) that are not yet normalised",
        hint="With model.norm and model.head two orders are possible. Which "
        "of them does the model itself take?",
        right=mean_logits,
        wrong={
            "It averages before LayerNorm: for a mean, the order matters.": (
                mean_first
            ),
            "The class token is in the mean; leave it out.": with_token,
            "LayerNorm is missing before the head.": no_norm,
            "It reads the class token; the mean of the patches is asked "
            "for.": token_only,
        },
        cases=some_models,
    ),
    "3": Exercise(
        asks="the number of parameters of DeiT-Ti with its distillation token",
        hint="Start from Ti/16. The token brings itself, a position, and a "
        "head with weights and biases.",
        right=DEIT,
        wrong={
            "The token's position is missing: 192.": DEIT - 192,
            "The second head is missing.": DEIT - 193_000,
            "The second head's biases are missing: 1,000.": DEIT - 1000,
            "That is Ti/16 without anything new.": TINY,
        },
        tolerance=0,
    ),
}
