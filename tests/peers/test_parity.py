"""Equal to the peers' models, with random weights copied over."""

import pytest
import torch

pytest.importorskip("timm", reason="needs the environment of `make peers`")
pytest.importorskip("torchvision", exc_type=ImportError)

from peers import PEERS, torchvision_state, transformers_state

from vitlib import VARIANTS, create_model

NAMES = ["Ti/16", "S/16", "B/16", "B/32"]


def ours(name):
    """A vitlib model whose every parameter is random and not zero."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def peer(name, library):
    """The peer's model, initialised apart from ours."""
    torch.manual_seed(1)
    return PEERS[library](VARIANTS[name]).eval()


def logits_and_gradient(model, seed=2):
    """Logits (B, K), and the gradient of one number to the images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, 224, 224, generator=generator)
    images.requires_grad_()
    logits = model(images)
    probe = torch.randn(logits.shape, generator=generator)
    (gradient,) = torch.autograd.grad((logits * probe).sum(), images)
    return logits.detach(), gradient


def assert_equal(model, other, capsys, label):
    """Hold logits and input gradients within 1e-4 of each other."""
    logits, gradient = logits_and_gradient(model)
    assert logits.std() > 0.1, "logits too small to compare"
    assert gradient.abs().max() > 1e-3, "gradients too small to compare"
    other_logits, other_gradient = logits_and_gradient(other)
    gaps = [
        (logits - other_logits).abs().max().item(),
        (gradient - other_gradient).abs().max().item(),
    ]
    with capsys.disabled():
        print(
            f"\n{label}: largest gap {gaps[0]:.1e} on logits "
            f"(std {logits.std():.2f}), {gaps[1]:.1e} on input gradients "
            f"(largest {gradient.abs().max():.2f})"
        )
    assert max(gaps) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_timm(name, capsys):
    """timm's weights load as they are, strictly."""
    model, other = ours(name), peer(name, "timm")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.load_state_dict(other.state_dict(), strict=True)
    assert_equal(model, other, capsys, f"timm {name}")


@pytest.mark.parametrize("name", NAMES)
def test_torchvision(name, capsys):
    """Our weights, renamed, fill torchvision's model strictly."""
    model, other = ours(name), peer(name, "torchvision")
    state = torchvision_state(model.state_dict(), model.config)
    other.load_state_dict(state, strict=True)
    assert_equal(model, other, capsys, f"torchvision {name}")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", NAMES)
def test_transformers(name, attention, capsys):
    """Our weights, renamed, fill transformers' model strictly."""
    library = f"transformers ({attention})"
    model, other = ours(name), peer(name, library)
    state = transformers_state(model.state_dict(), model.config)
    other.load_state_dict(state, strict=True)
    assert_equal(model, other, capsys, f"{library} {name}")
