"""The model card of the shipped weights, written from the results alone."""

from statistics import mean
from typing import Any


def percent(share: float) -> str:
    """A share as a percentage with two digits."""
    return f"{100 * share:.2f} %"


def spread(values: list[float]) -> str:
    """Mean and range of shares."""
    low, high = percent(min(values)), percent(max(values))
    return f"{percent(mean(values))} ({low} to {high})"


def model_card(results: dict[str, Any], classes: tuple[str, ...]) -> str:
    """Write the card of results/reference.json, as Markdown.

    Args:
        results: what that file holds.
        classes: names, in the order of the labels.
    """
    seeds, shipped = results["seeds"], results["shipped"]
    config, minutes = shipped["config"], [s["cpu_minutes"] for s in seeds]
    low, high = shipped["interval"]
    machine = results["machine"]
    recipe = ", ".join(f"{k}={v!r}" for k, v in config.items() if k != "seed")
    model = ", ".join(f"{k}={v!r}" for k, v in shipped["model"].items())
    rows = []
    for label, (name, row) in enumerate(
        zip(classes, shipped["confusion"], strict=True)
    ):
        missed = [(n, i) for i, n in enumerate(row) if i != label]
        count, other = max(missed)
        share = 1 - row[label] / sum(row)
        rows.append(
            f"| {name} | {percent(share)} | {classes[other]} ({count}) |"
        )
    return f"""# Model card: book.safetensors

A Vision Transformer for grey images of 28x28 pixels in ten classes of
clothing, trained from scratch for *ViT, Step by Step*. Written by
`experiments/reference.py` from `results/reference.json`.

- **Model**: Book/4: {model}.
- **Data**: Fashion-MNIST (Zalando SE, MIT licence): of the 60,000 training
  images {results["held_out_images"]:,} were held out to watch and choose the
  run, the others trained on. Pixel mean {config["mean"]}, standard
  deviation {config["std"]}.
- **Recipe**: {recipe}.
- **Machine**: {machine["cpu"]}, one core a seed, PyTorch
  {machine["versions"]["torch"]}, {min(minutes):.0f} to {max(minutes):.0f}
  minutes of processor time a seed.
- **Test accuracy** over {len(seeds)} seeds of 20 epochs, the 10,000 test
  images looked at once at the end: {spread([s["test"] for s in seeds])}.
- **Shipped**: the run `{shipped["run"]}`, the best on the held-out images, of
  {shipped["cpu_minutes"]:.0f} minutes: {percent(shipped["test"])},
  95 % interval {percent(low)} to {percent(high)};
  {percent(results["shipped_test_in_float16"])} from the float16 weights of
  the file.
- **Calibration**: expected calibration error
  {percent(shipped["calibration_error"])} (15 bins).
- **Use**: to learn from. It knows centred pictures of single pieces of
  clothing, and gives one of ten names to anything at all.

| class | errors | most often taken for |
|---|---|---|
{chr(10).join(rows)}
"""
