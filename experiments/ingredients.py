"""(f) The recipe, ingredient by ingredient.

    .venv/bin/python experiments/ingredients.py

A ladder: each arm adds one thing to the arm before. Chapter 8. Writes
results/ingredients.json.
"""

from study import Arm, recipe, run_study, vit

LRS = (1e-3, 3e-3)
STEPS = 860
LADDER = {
    "AdamW, constant rate": {},
    "+ cosine": {"cosine": True},
    "+ warm-up": {"warmup_epochs": 0.15},
    "+ clipping at 1": {"clip_grad": 1.0},
    "+ label smoothing 0.1": {"label_smoothing": 0.1},
    "+ average of weights": {"ema": 0.99},
    "+ positions from std 0.5": {"pos_std": 0.5},
    "+ flips": {"flip": True},
    "+ one-pixel shifts": {"crop": 1},
    "+ stochastic depth 0.05": {"drop_path": 0.05},
    "Muon in place of AdamW, no flips, shifts, depth": {"optimizer": "muon"},
}


def arms() -> dict[str, Arm]:
    """Every rung of the ladder."""
    fields: dict = {"warmup_epochs": 0.0, "clip_grad": 0.0}
    model: dict = {}
    found = {}
    for name, step in LADDER.items():
        step = dict(step)
        if "optimizer" in step:
            fields |= {"flip": False, "crop": 0}
            model.pop("drop_path")
        for key in ("pos_std", "drop_path"):
            if key in step:
                model[key] = step.pop(key)
        fields |= step
        config = dict(fields)
        constant = not config.pop("cosine", False)
        found[name] = Arm(
            vit(**model), recipe(STEPS, **config), LRS, constant=constant
        )
    return found


if __name__ == "__main__":
    run_study(
        "ingredients",
        arms(),
        about="Share of 10,000 test images classified rightly, as the recipe "
        "grows by one ingredient a time.",
    )
