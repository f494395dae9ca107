"""(a) Who misses the order of patches? A CNN, a ViT, a ViT without positions.

    .venv/bin/python experiments/shuffle.py

All three learn from intact images. The test images are then cut into 2x2,
4x4 or 7x7 pieces, and each image's pieces are put back in an order of its
own. Chapter 1. Writes results/shuffle.json.
"""

import torch
from study import Arm, cnn, load, recipe, run_study, test_accuracy, vit
from torch import Tensor, nn

from vitlib import patchify, unpatchify
from vitlib.data import ImageDataset
from vitlib.train import TrainConfig, evaluate

GRIDS = (2, 4, 7)


def shuffle_patches(images: Tensor, grid: int, seed: int = 0) -> Tensor:
    """Put each image's grid x grid pieces into an order of its own.

    Args:
        images: (B, C, H, W), H = W a multiple of grid.
        grid: pieces a side.
        seed: of the orders.

    Returns:
        (B, C, H, W): the same bytes, rearranged.
    """
    patch_size = images.shape[-1] // grid
    pieces = patchify(images.float(), patch_size)  # (B, N, C*P*P)
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(pieces.shape[:2], generator=generator)
    order = keys.argsort(dim=1)[..., None].expand_as(pieces)
    mixed = pieces.gather(1, order)
    back = unpatchify(mixed, patch_size, (grid, grid))
    return back.to(images.dtype)


def measure(model: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Test accuracy, intact and shuffled."""
    _, _, test = load()
    scores = test_accuracy(model, config)
    for grid in GRIDS:
        images = shuffle_patches(test.images, grid)
        mixed = ImageDataset(images, test.labels, test.classes)
        found = evaluate(model, mixed, config.mean, config.std)
        scores[f"test, {grid}x{grid}"] = round(found["accuracy"], 5)
    return scores


if __name__ == "__main__":
    plain = recipe(steps=1290)
    run_study(
        "shuffle",
        {
            "CNN": Arm(cnn, plain, (1e-3, 3e-3, 1e-2)),
            "ViT": Arm(vit(), plain, (1e-3, 2e-3, 4e-3)),
            "ViT without positions": Arm(
                vit(pos_embed="none"), plain, (1e-3, 2e-3, 4e-3)
            ),
        },
        measure=measure,
        about="Share of 10,000 test images classified rightly, by models "
        "trained on intact images, when the test images are intact, or cut "
        "into pieces in random order.",
    )
