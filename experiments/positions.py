"""(d) Kinds of position embedding, beside the paper's Table 8.

    .venv/bin/python experiments/positions.py

None, learned 1-D, learned 2-D, relative, sin-cos; and learned 1-D from a
larger start, with how much of the positions' similarity rows and columns
explain. Chapter 4. Writes results/positions.json.
"""

from study import Arm, recipe, run_study, test_accuracy, vit
from torch import nn

from vitlib.inspection import (
    distance_r2,
    grid_positions,
    position_similarity,
)
from vitlib.train import TrainConfig

LRS = (1e-3, 2e-3, 4e-3)


def measure(model: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Test accuracy, and the structure of learned 1-D positions."""
    scores = test_accuracy(model, config)
    if model.config.pos_embed == "1d":
        grid = model.config.grid_size
        tiles = position_similarity(grid_positions(model), grid)
        scores["structure"] = round(distance_r2(tiles), 4)
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
