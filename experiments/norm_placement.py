"""(e) Pre-norm and post-norm, with and without warm-up, at two depths.

    .venv/bin/python experiments/norm_placement.py

Chapter 6. Xiong et al. 2020 (arXiv:2002.04745) is the claim. Writes
results/norm_placement.json.
"""

from itertools import product

from study import Arm, recipe, run_study, vit

LRS = (1e-3, 3e-3)
NORMS = {"pre-norm": True, "post-norm": False}
WARMUP = {"with warm-up": 0.1, "without warm-up": 0.0}

if __name__ == "__main__":
    run_study(
        "norm_placement",
        {
            f"{norm}, {warm}, {depth} blocks": Arm(
                vit(norm_first=NORMS[norm], depth=depth),
                recipe(430, warmup_epochs=WARMUP[warm]),
                LRS,
            )
            for depth, norm, warm in product((4, 12), NORMS, WARMUP)
        },
        about="Share of 10,000 test images classified rightly, by place of "
        "the LayerNorm, warm-up and depth.",
    )
