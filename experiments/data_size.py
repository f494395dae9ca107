"""(b) ViT against CNN from 1,000 to 55,000 images, equal budgets.

    .venv/bin/python experiments/data_size.py

Every run takes the same number of updates, whatever the number of images;
with and without flips and one-pixel shifts. 5,000 of the 60,000 training
images choose the learning rate, so 55,000 is the most there is to learn
from. Chapter 1. Writes results/data_size.json.
"""

from study import Arm, cnn, recipe, run_study, vit

SIZES = (1_000, 2_500, 5_000, 10_000, 30_000, 55_000)
MODELS = {"ViT": (vit(), (1e-3, 3e-3)), "CNN": (cnn, (3e-3, 1e-2))}
AUGMENTATION = {"": {}, ", augmented": {"flip": True, "crop": 1}}

if __name__ == "__main__":
    run_study(
        "data_size",
        {
            f"{name}{how}, {size} images": Arm(
                model, recipe(860, size, **extra), lrs, size
            )
            for size in SIZES
            for name, (model, lrs) in MODELS.items()
            for how, extra in AUGMENTATION.items()
        },
        about="Share of 10,000 test images classified rightly after the "
        "same number of updates on fewer or more training images.",
    )
