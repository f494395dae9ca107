"""(d) Kinds of position embedding, beside the paper's Table 8.

    .venv/bin/python experiments/positions.py

None, learned 1-D, learned 2-D, relative, sin-cos; and learned 1-D from a
larger start, with how much of the positions' similarity rows and columns
explain. Chapter 4. Writes results/positions.json.
"""

import torch
from einops import repeat
from study import Arm, recipe, run_study, test_accuracy, vit
from torch import nn
from torch.nn.functional import cosine_similarity, one_hot

from vitlib.train import TrainConfig

LRS = (1e-3, 2e-3, 4e-3)


def structure(model: nn.Module) -> float:
    """R^2 of position similarity, explained by row and column distance.

    The cosine similarity of all pairs of patches is regressed on one value
    for each vertical and one for each horizontal distance.
    """
    rows, columns = model.config.grid_size
    table = model.pos_embed.detach()[0, 1:].double()  # (N, D)
    left = repeat(table, "n d -> n m d", m=len(table))
    right = repeat(table, "n d -> m n d", m=len(table))
    similarity = cosine_similarity(left, right, dim=-1)
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    gaps = (grid[:, None] - grid[None]).abs()  # (N, N, 2)
    other = ~torch.eye(len(table), dtype=torch.bool)
    y, gaps = similarity[other], gaps[other]
    design = torch.cat(
        [one_hot(gaps[:, 0], rows), one_hot(gaps[:, 1], columns)], dim=1
    ).double()
    fit = torch.linalg.lstsq(design, y[:, None], driver="gelsd").solution
    left_over = (y - (design @ fit)[:, 0]).square().sum()
    return float(1 - left_over / (y - y.mean()).square().sum())


def measure(model: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Test accuracy, and the structure of learned 1-D positions."""
    scores = test_accuracy(model, config)
    if model.config.pos_embed == "1d":
        scores["structure"] = round(structure(model), 4)
    return scores


if __name__ == "__main__":
    plain = recipe(steps=860)
    kinds = ("none", "1d", "2d", "relative", "sincos")
    arms = {kind: Arm(vit(pos_embed=kind), plain, LRS) for kind in kinds}
    arms["1d, std 0.5"] = Arm(vit(pos_std=0.5), plain, LRS)
    run_study(
        "positions",
        arms,
        measure=measure,
        about="Share of 10,000 test images classified rightly, by kind of "
        "position embedding; structure: R^2 of the similarity of positions "
        "explained by their distances in row and column.",
    )
