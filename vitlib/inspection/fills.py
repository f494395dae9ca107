"""Chapter 16: what stands in the place of a patch that is taken away."""

from math import ceil

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional


def make_fills(
    images: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    patch_size: int,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Make what may replace the patches of images.

    Chapter 16. "black": black pixels; "mean": each image's own mean colour;
    "blurred": the image under a Gaussian with a standard deviation of half
    a patch; "other image": the next image of the batch in an order drawn by
    seed, so never the image itself. Only the last depends on the batch:
    make it for all images at once.

    Args:
        images: (B, C, H, W), normalised; B of at least 2.
        mean: pixel mean a channel that they were normalised with, 0 to 1.
        std: standard deviation a channel, likewise.
        patch_size: P, in pixels.
        seed: of the order.

    Returns:
        Name -> (B, C, H, W).

    Raises:
        ValueError: if there is no other image.
    """
    if len(images) < 2:
        raise ValueError(
            "another image's patches need a batch of 2 or more; got "
            f"{len(images)}"
        )
    stats = torch.tensor([mean, std]).to(images)
    centre, scale = rearrange(stats, "two c -> two 1 c 1 1")
    average = reduce(images, "b c h w -> b c 1 1", "mean")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    other = torch.empty_like(images)
    other[order] = images[order.roll(1)]
    return {
        "black": (-centre / scale).expand_as(images),
        "mean": average.expand_as(images),
        "blurred": blur(images, patch_size / 2),
        "other image": other,
    }


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (B, C, H, W) by a Gaussian of so many pixels."""
    radius = min(ceil(3 * sigma), images.shape[-1] - 1, images.shape[-2] - 1)
    x = torch.arange(-radius, radius + 1).to(images)
    bell = (-(x**2) / (2 * sigma**2)).exp()
    kernel = repeat(bell / bell.sum(), "k -> c 1 1 k", c=images.shape[1])
    groups = images.shape[1]
    for pad in ((radius, radius, 0, 0), (0, 0, radius, radius)):
        padded = functional.pad(images, pad, mode="reflect")
        images = functional.conv2d(padded, kernel, groups=groups)
        kernel = rearrange(kernel, "c one h w -> c one w h")
    return images


def replace_patches(
    images: Tensor, fill: float | Tensor, mask: Tensor
) -> Tensor:
    """Put the fill where the mask (B or 1, gh, gw) is true.

    Chapter 16.

    Args:
        images: (B, C, H, W).
        fill: broadcast to the images.
        mask: bool; its grid must divide the images.

    Returns:
        (B, C, H, W).
    """
    ph = images.shape[2] // mask.shape[1]
    pw = images.shape[3] // mask.shape[2]
    pixels = repeat(mask, "b gh gw -> b 1 (gh ph) (gw pw)", ph=ph, pw=pw)
    fill = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    return torch.where(pixels, fill, images)
