"""Chapters 8 and 10: new images from old, a batch at a time.

Every function draws from PyTorch's global generator of the images' device,
each image its own values, so that nothing waits for a Python loop.
"""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_positive, check_probability
from vitlib._shapes import check_floating, check_labels, check_shape


def random_flip(images: Tensor) -> Tensor:
    """Mirror every other image, left to right.

    Chapter 8.

    Args:
        images: (B, C, H, W), any dtype.
    """
    check_shape("images", images, "B C H W")
    flip = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image by up to some pixels, zeros coming in at the rim.

    Chapter 8. Equal to padding all sides and cutting out H x W at random.

    Args:
        images: (B, C, H, W), any dtype; zero is black only in bytes.
        padding: largest shift in pixels, both down and to the right.

    Raises:
        ValueError: if the padding is no number of pixels.
    """
    check_shape("images", images, "B C H W")
    if type(padding) is not int or padding < 0:
        raise ValueError(f"padding must be 0 or more; got {padding!r}")
    B, _, H, W = images.shape
    device = images.device
    corner = torch.randint(2 * padding + 1, (2, B, 1), device=device)
    rows = corner[0] + torch.arange(H, device=device)  # (B, H)
    columns = corner[1] + torch.arange(W, device=device)  # (B, W)
    cut = functional.pad(images, [padding] * 4)[
        rearrange(torch.arange(B, device=device), "b -> b 1 1"),
        :,
        rearrange(rows, "b h -> b h 1"),
        rearrange(columns, "b w -> b 1 w"),
    ]  # (B, H, W, C)
    return rearrange(cut, "b h w c -> b c h w")


def random_boxes(B: int, H: int, W: int, area: Tensor) -> Tensor:
    """Draw one box an image, as a mask; aspect ratio that of the image.

    Args:
        B: number of boxes.
        H: height of the image in pixels.
        W: width of the image in pixels.
        area: (B,) share of the image, 0 to 1, before rounding and before
            the rim cuts a part off.

    Returns:
        bool (B, 1, H, W), True inside.
    """
    check_shape("area", area, "B", B=B)
    check_floating(area=area)
    if H < 0 or W < 0:
        raise ValueError(f"H and W must be 0 or more; got {H} and {W}")
    centre = torch.rand(2, B, 1, device=area.device)
    half = rearrange(area.sqrt() / 2, "b -> b 1")

    def inside(centre: Tensor, size: int) -> Tensor:
        pixel = (torch.arange(size, device=area.device) + 0.5) / size
        return (pixel - centre).abs() < half  # (B, size)

    rows = rearrange(inside(centre[0], H), "b h -> b 1 h 1")
    return rows & rearrange(inside(centre[1], W), "b w -> b 1 1 w")


def random_erasing(images: Tensor, probability: float) -> Tensor:
    """Fill a box of some images with random bytes.

    Chapter 8. Zhong et al. 2020 (arXiv:1708.04896): 2 to 40 % of the area.

    Differs: the box has the image's aspect ratio, and the rim may cut it.

    Args:
        images: uint8 (B, C, H, W).
        probability: share of the images that lose a box.

    Raises:
        ValueError: unless 0 <= probability < 1 and the images are bytes.
    """
    check_probability(probability=probability)
    check_shape("images", images, "B C H W")
    if images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8; got {images.dtype}")
    B, _, H, W = images.shape
    draw = torch.rand(2, B, device=images.device)
    area = 0.02 + 0.38 * draw[0]
    boxes = random_boxes(B, H, W, area * (draw[1] < probability))
    return torch.where(boxes, torch.randint_like(images, 256), images)


def one_hot(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Write labels as probabilities, a part of it spread over all classes.

    Chapter 8. Szegedy et al. 2016 (arXiv:1512.00567), section 7.

    Args:
        labels: int64 (B,).
        num_classes: K.
        smoothing: the part that is spread evenly, 0 <= smoothing < 1.

    Returns:
        float32 (B, K), rows that sum to 1.

    Raises:
        ValueError: if a label is none of the K classes.
    """
    check_probability(smoothing=smoothing)
    check_positive(num_classes=num_classes)
    check_labels(labels, labels.numel(), num_classes)
    hot = functional.one_hot(labels, num_classes).float()
    return hot * (1 - smoothing) + smoothing / num_classes


def _shares(images: Tensor, targets: Tensor, alpha: float) -> Tensor:
    """One draw an image from Beta(alpha, alpha): (B,), 0 to 1."""
    if not 0 < alpha < 1e38:  # in float32
        raise ValueError(f"alpha must lie between 0 and 1e38; got {alpha}")
    check_shape("images", images, "B C H W")
    check_shape("targets", targets, "B K", B=len(images))
    check_floating(targets=targets)
    # Apple's GPUs draw no gamma numbers, of which these are made
    device = "cpu" if images.device.type == "mps" else images.device
    shape = torch.full((len(images),), float(alpha), device=device)
    # checking the arguments would wait for the GPU
    beta = torch.distributions.Beta(shape, shape, validate_args=False)
    return beta.sample().to(images.device)


def mixup(
    images: Tensor, targets: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Blend each image and target with those of its mirror in the batch.

    Chapter 10. Zhang et al. 2018 (arXiv:1710.09412).

    Args:
        images: float (B, C, H, W), normalised.
        targets: (B, K), probabilities.
        alpha: of the Beta distribution; 1 blends evenly over 0 to 1.

    Returns:
        Blended images and targets.

    Raises:
        ValueError: unless 0 < alpha < 1e38.
    """
    keep = _shares(images, targets, alpha)
    check_floating(images=images)
    pixels = rearrange(keep, "b -> b 1 1 1")
    rows = rearrange(keep, "b -> b 1")
    images = images * pixels + images.flip(0) * (1 - pixels)
    return images, targets * rows + targets.flip(0) * (1 - rows)


def cutmix(
    images: Tensor, targets: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Paste a box of each image's mirror in the batch into it.

    Chapter 10. Yun et al. 2019 (arXiv:1905.04899). The targets blend by the
    pixels that were really pasted.

    Args:
        images: (B, C, H, W).
        targets: (B, K), probabilities.
        alpha: of the Beta distribution of the area that stays.

    Returns:
        Patched images and blended targets.

    Raises:
        ValueError: unless 0 < alpha < 1e38.
    """
    keep = _shares(images, targets, alpha)
    B, _, H, W = images.shape
    check_positive(H=H, W=W)
    boxes = random_boxes(B, H, W, 1 - keep)
    pasted = rearrange(boxes.float().mean((1, 2, 3)), "b -> b 1")
    images = torch.where(boxes, images.flip(0), images)
    return images, targets * (1 - pasted) + targets.flip(0) * pasted
