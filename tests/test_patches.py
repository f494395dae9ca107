"""vitlib.patches: cutting, joining and projecting patches."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitlib.patches import PatchEmbed, patchify, unpatchify

SIZES = [(1, 8, 8, 4), (3, 8, 12, 4), (2, 6, 4, 1), (3, 14, 28, 14)]


@pytest.mark.parametrize(("channels", "height", "width", "patch"), SIZES)
def test_shape_and_inverse(channels, height, width, patch):
    """Section 3.1: x becomes x_p, and back."""
    images = torch.randn(2, channels, height, width)
    patches = patchify(images, patch)
    count = (height // patch) * (width // patch)
    assert patches.shape == (2, count, channels * patch * patch)
    grid = (height // patch, width // patch)
    assert torch.equal(unpatchify(patches, patch, grid), images)


def test_reading_order_channel_row_column():
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(images, 2)
    assert patches[0, 1].tolist() == [2, 3, 8, 9, 26, 27, 32, 33]
    assert patches[0, 3].tolist() == [12, 13, 18, 19, 36, 37, 42, 43]


def test_keeps_dtype_and_takes_strided_images():
    images = torch.arange(2 * 8 * 8, dtype=torch.uint8).reshape(2, 1, 8, 8)
    assert patchify(images, 4).dtype == torch.uint8
    turned = images.transpose(2, 3)
    assert torch.equal(patchify(turned, 4), patchify(turned.clone(), 4))


@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_strided_convolution(bias):
    """Eq. 1: the projection x_p E."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 32, 4, 4, bias=bias)
    embed = PatchEmbed((8, 12), 4, 3, 32, bias=bias)
    embed.load_state_dict(
        {f"proj.{name}": value for name, value in conv.state_dict().items()}
    )  # a 4-D weight, as released checkpoints hold it
    images = torch.randn(2, 3, 8, 12)
    expected = conv(images).flatten(2).transpose(1, 2)
    assert_close(embed(images), expected, rtol=1e-5, atol=1e-5)


def test_embed_reports_its_grid_and_reaches_all_parameters():
    embed = PatchEmbed((8, 12), 4, 3, 32)
    assert embed.grid_size == (2, 3)
    assert embed.num_patches == 6
    embed(torch.randn(2, 3, 8, 12)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in embed.parameters())


def test_a_weight_of_another_shape_is_refused():
    embed = PatchEmbed(8, 4, 3, 32)
    shapes = {"proj.weight": (32, 3, 2, 2), "proj.bias": (32,)}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(RuntimeError, match=r"size mismatch for proj\.weight"):
        embed.load_state_dict(state)


@pytest.mark.parametrize("height_width", [(9, 8), (8, 9)])
def test_a_patch_that_does_not_divide_is_refused(height_width):
    height, width = height_width
    match = f"must divide.*H={height}, W={width}, P=4"
    with pytest.raises(ValueError, match=match):
        patchify(torch.zeros(1, 1, height, width), 4)
    with pytest.raises(ValueError, match=match):
        PatchEmbed(height_width, 4)


@pytest.mark.parametrize("patch", [0, -4, 2.0, True])
def test_a_patch_that_is_no_size_is_refused(patch):
    with pytest.raises(ValueError, match="patch_size must be a positive int"):
        patchify(torch.zeros(1, 1, 8, 8), patch)


def test_images_of_three_axes_are_refused():
    with pytest.raises(ValueError, match=r"\(B, C, H, W\); got shape \(1, 8"):
        patchify(torch.zeros(1, 8, 8), 4)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((1, 5, 16), r"N = 2 \* 2 = 4; got shape \(1, 5, 16\)"),
        ((4, 16), r"N = 2 \* 2 = 4; got shape \(4, 16\)"),
        ((1, 4, 15), r"C \* P \* P values; got 15 values with P=4"),
    ],
)
def test_patches_that_do_not_fit_are_refused(shape, match):
    with pytest.raises(ValueError, match=match):
        unpatchify(torch.zeros(shape), 4, (2, 2))


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(1, 3, 8, 12), r"images of 8x8 pixels; got 8x12"),
        (torch.zeros(1, 1, 8, 8), r"takes 3 channels; got images with 1"),
        (torch.zeros(3, 8, 8), r"\(B, C, H, W\); got shape \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), r"must not be empty; got shape \(0, 3"),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
            r"floating point; got torch\.uint8.*normalize",
        ),
    ],
)
def test_wrong_images_are_refused(images, match):
    with pytest.raises(ValueError, match=match):
        PatchEmbed(8, 4, 3, 32)(images)


def test_a_kernel_that_is_no_square_of_p_is_refused():
    """Of as many values as 4x4: they would be taken for other pixels."""
    state = {"proj.weight": torch.zeros(8, 1, 2, 8)}
    with pytest.raises(RuntimeError, match=r"size mismatch for proj\.weight"):
        PatchEmbed(8, 4, 1, 8, bias=False).load_state_dict(state)
