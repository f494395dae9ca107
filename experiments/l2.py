"""(g) Adam with an L2 term against AdamW: the collapse to one class.

    .venv/bin/python experiments/l2.py

Both are told weight_decay=0.3, the paper's for ImageNet (Table 3). Chapter
9. Writes results/l2.json.
"""

import torch
from study import Arm, load, recipe, run_study, test_accuracy, vit
from torch import nn

from vitlib.train import TrainConfig, predict

LRS = (3e-4, 1e-3, 3e-3)


def measure(model: nn.Module, config: TrainConfig) -> dict:
    """Test accuracy, and how often each class is predicted."""
    logits = predict(model, load()[2], config.mean, config.std)
    counts = torch.bincount(logits.argmax(dim=1), minlength=10)
    return test_accuracy(model, config) | {"predictions": counts.tolist()}


if __name__ == "__main__":
    run_study(
        "l2",
        {
            name: Arm(
                vit(), recipe(430, optimizer=name, weight_decay=0.3), LRS
            )
            for name in ("adamw", "adam")
        },
        measure=measure,
        about="Share of 10,000 test images classified rightly, with the same "
        "weight_decay read as decoupled decay (adamw) or as L2 (adam).",
    )
