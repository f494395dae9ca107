"""Exercises of chapter 9, the clinic."""

from collections.abc import Callable

import torch

from vitlib.config import ViTConfig
from vitlib.exercises import Exercise
from vitlib.model import VisionTransformer


def fails(check: Callable, model: VisionTransformer) -> bool:
    """Whether a check stops at a model."""
    try:
        check(model)
    except AssertionError:
        return True
    return False


def same_twice(model: VisionTransformer) -> bool:
    """Whether two passes give the same."""
    x = torch.randn(4, 1, 8, 8)
    return torch.equal(model(x), model(x))


def rate(model: VisionTransformer) -> float:
    """Return the largest dropout rate."""
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    return max(rates)


def check_dropping(model: VisionTransformer) -> None:
    """Ask for the mode, and for passes that differ with dropout."""
    assert model.training
    assert same_twice(model) == (rate(model) == 0)


def differ_only(model: VisionTransformer) -> None:
    """Ask for passes that differ, dropout or not."""
    assert not same_twice(model)


def rate_only(model: VisionTransformer) -> None:
    """Ask for passes that differ with dropout, and for no mode."""
    assert rate(model) == 0 or not same_twice(model)


def stops_always(model: VisionTransformer) -> None:
    """Stop at any model."""
    raise AssertionError


def some_models() -> list[tuple]:
    """Draw models with and without dropout, in both modes."""
    made = []
    for drop_rate in (0.2, 0.0):
        config = ViTConfig(
            img_size=8,
            patch_size=2,
            in_chans=1,
            num_classes=10,
            embed_dim=32,
            depth=2,
            num_heads=2,
            drop_rate=drop_rate,
        )
        for training in (True, False):
            model = VisionTransformer(config)
            torch.nn.init.normal_(model.head.weight)
            made.append((model.train(training),))
    return made


EXERCISES = {
    "2": Exercise(
        asks="check_dropping(model), a check that stops by an assert where "
        "the model is not in training mode",
        hint="With dropout, two passes in training mode differ. Without it "
        "they never do: what else can you ask the model?",
        right=check_dropping,
        wrong={
            "It stops at a healthy model without dropout, whose two passes "
            "are equal.": differ_only,
            "It passes in vain: without dropout it does not notice eval "
            "mode.": rate_only,
            "It never stops: at no model is anything asserted.": (
                lambda model: None
            ),
            "It stops at every model, healthy ones as well.": stops_always,
        },
        cases=some_models,
        call=fails,
    ),
}
