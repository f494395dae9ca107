"""Chapter 2: an image becomes a sequence of patches.

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 3.1 and Eq. 1.
"""

from einops import rearrange
from torch import Tensor, nn

from vitlib._checks import (
    check_images,
    check_patches,
    check_positive,
    check_tensor,
    pair,
)
from vitlib._shapes import check_input


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches that do not overlap, one row each.

    Chapter 2. Dosovitskiy et al. 2021, section 3.1.

    Args:
        images: (B, C, H, W), of any dtype.
        patch_size: P, in pixels; must divide H and W.

    Returns:
        (B, N, C*P*P) with N = (H/P) * (W/P), patches in reading order,
        each flattened channel first, then row, then column.

    Raises:
        ValueError: if images is not 4-D, or P does not divide H and W; the
            message gives all three.
    """
    check_tensor(images=images)
    if images.ndim != 4:
        raise ValueError(
            f"images must be (B, C, H, W); got shape {tuple(images.shape)}"
        )
    check_patches(images.shape[2], images.shape[3], patch_size)
    return rearrange(
        images,
        "b c (gh ph) (gw pw) -> b (gh gw) (c ph pw)",
        ph=patch_size,
        pw=patch_size,
    )  # (B, N, C*P*P)


def unpatchify(
    patches: Tensor, patch_size: int, grid_size: tuple[int, int]
) -> Tensor:
    """Put patches back into images: the inverse of patchify.

    Chapter 2.

    Args:
        patches: (B, N, C*P*P), as patchify returns them.
        patch_size: P, in pixels.
        grid_size: (rows, columns) of patches; their product is N.

    Returns:
        (B, C, H, W) with H = rows * P and W = columns * P.

    Raises:
        ValueError: if N is not rows * columns, or a row does not hold whole
            channels of P*P values.
    """
    rows, columns = pair(grid_size, "grid_size")
    check_positive(patch_size=patch_size)
    check_tensor(patches=patches)
    shape = tuple(patches.shape)
    if len(shape) != 3 or shape[1] != rows * columns:
        raise ValueError(
            f"patches must be (B, N, C*P*P) with N = {rows} * {columns} = "
            f"{rows * columns}; got shape {shape}"
        )
    if shape[2] % patch_size**2:
        raise ValueError(
            "a patch must hold C * P * P values; got "
            f"{shape[2]} values with P={patch_size}"
        )
    return rearrange(
        patches,
        "b (gh gw) (c ph pw) -> b c (gh ph) (gw pw)",
        gh=rows,
        ph=patch_size,
        pw=patch_size,
    )  # (B, C, H, W)


class PatchEmbed(nn.Module):
    """Project flat patches to the model's width: x_p E of Eq. 1.

    Chapter 2. One linear layer, shared by all patches. It equals a
    convolution whose kernel and stride are both P.

    Args:
        img_size: H = W in pixels, or (H, W).
        patch_size: P, in pixels; must divide H and W.
        in_chans: C.
        embed_dim: D.
        bias: whether E has a bias. Eq. 1 has none; the released weights do.

    Raises:
        ValueError: if P does not divide H and W.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.img_size = pair(img_size, "img_size")
        check_patches(*self.img_size, patch_size)
        check_positive(in_chans=in_chans, embed_dim=embed_dim)
        self.patch_size = patch_size
        self.in_chans = in_chans
        rows, columns = (side // patch_size for side in self.img_size)
        self.grid_size = (rows, columns)
        self.num_patches = rows * columns
        self.proj = nn.Linear(in_chans * patch_size**2, embed_dim, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens (B, N, D)."""
        check_images(images, self.in_chans, self.img_size)
        check_input(images, self.proj.weight, "images")
        return self.proj(patchify(images, self.patch_size))  # (B, N, D)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:  # type: ignore[no-untyped-def]
        """Accept E stored as a convolution, (D, C, P, P), as timm does."""
        weight = state_dict.get(prefix + "proj.weight")
        kernel = (self.patch_size, self.patch_size)
        if weight is not None and weight.shape[2:] == kernel:
            state_dict[prefix + "proj.weight"] = weight.flatten(1)
        super()._load_from_state_dict(state_dict, prefix, *args)
