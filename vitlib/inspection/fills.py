"""Chapter 16: what stands in the place of a patch that is taken away."""

from math import ceil, isfinite

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_deviation, check_images, check_positive
from vitlib._shapes import check_shape


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
        ValueError: if there is no other image, or the sizes do not fit.
    """
    check_images(images)
    check_positive(patch_size=patch_size)
    C, finite = images.shape[1], all(map(isfinite, (*mean, *std)))
    if not (finite and len(mean) == len(std) == C and min(std) > 0):
        raise ValueError(
            f"mean and std must hold {C} finite values, std above 0; "
            f"got mean={mean}, std={std}"
        )
    if len(images) < 2:
        raise ValueError(
            "another image's patches need a batch of 2 or more; got "
            f"{len(images)}"
        )
    stats = torch.tensor([mean, std], dtype=torch.float64).to(images)
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
    check_images(images)
    check_deviation(sigma=sigma)
    if not sigma:
        raise ValueError(f"sigma must be positive; got {sigma}")
    sigma = max(sigma, 0.01)  # which blurs nothing, and has a square
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

    Raises:
        ValueError: if mask or fill do not fit the images.
    """
    check_shape("images", images, "B C H W")
    check_shape("mask", mask, "B gh gw")
    B, _, H, W = images.shape
    gh, gw = mask.shape[1:]
    fits = gh and gw and H % gh == W % gw == 0
    if mask.dtype != torch.bool or len(mask) not in (1, B) or not fits:
        raise ValueError(
            f"mask must be bool, of 1 or {B} grids that divide {H}x{W} pixels;"
            f" got {mask.dtype} {tuple(mask.shape)}"
        )
    ph = images.shape[2] // mask.shape[1]
    pw = images.shape[3] // mask.shape[2]
    pixels = repeat(mask, "b gh gw -> b 1 (gh ph) (gw pw)", ph=ph, pw=pw)
    return torch.where(pixels, fill_for(images, fill), images)


def fill_for(images: Tensor, fill: float | Tensor) -> Tensor:
    """Bring a fill to the dtype and device of images (B, C, H, W).

    Raises:
        ValueError: if it does not broadcast to them, or they cannot hold it.
    """
    device = images.device
    try:
        found = torch.as_tensor(fill, dtype=images.dtype, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"fill must be a number or a tensor; got {fill!r}"
        ) from error
    wide = (1,) * (4 - found.ndim) + found.shape  # as PyTorch aligns them
    if len(wide) > 4 or any(
        n not in (1, size) for n, size in zip(wide, images.shape, strict=True)
    ):
        raise ValueError(
            f"fill must broadcast to images of shape {tuple(images.shape)}; "
            f"got {tuple(found.shape)}"
        )
    whole = not images.is_floating_point()
    if whole and (found != torch.as_tensor(fill, device=device)).any():
        raise ValueError(f"images of {images.dtype} cannot hold fill={fill}")
    return found
