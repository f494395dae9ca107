"""Checks of tensors: each message states the rule and what was found.

Below rank 0: imports nothing from the package.
"""

import torch
from torch import Tensor


def check_tensor(**tensors: object) -> None:
    """Refuse what is no tensor: ValueError names the first and its type."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{name} must be a tensor; got {type(x).__name__}"
            )


def check_shape(name: str, x: Tensor, dims: str, **sizes: int) -> None:
    """Refuse a tensor of another shape.

    Args:
        name: what the message calls it.
        x: the tensor.
        dims: a letter or a number for each dimension, as "B T D" or "1 1 D";
            a letter that comes twice is one size.
        sizes: of letters, where one is asked for.

    Raises:
        ValueError: gives the shape found and the one expected.
    """
    check_tensor(**{name: x})
    shape, letters = tuple(x.shape), dims.split()
    known = {d: int(d) for d in letters if d.isdigit()} | sizes
    if len(shape) != len(letters) or any(
        known.setdefault(letter, size) != size
        for letter, size in zip(letters, shape, strict=True)
    ):
        asked = ", ".join(f"{d} = {n}" for d, n in sizes.items())
        raise ValueError(
            f"{name} must be ({', '.join(letters)})"
            f"{' with ' * bool(asked)}{asked}; got shape {shape}"
        )


def check_floating(**tensors: Tensor) -> None:
    """Refuse whole numbers, truth values and complex numbers.

    Raises:
        ValueError: names the first offender and its dtype.
    """
    check_tensor(**tensors)
    for name, x in tensors.items():
        if not x.is_floating_point():
            raise ValueError(f"{name} must be floating point; got {x.dtype}")


def check_alike(dtypes: bool = True, **tensors: Tensor) -> None:
    """Refuse tensors of several devices, or of several dtypes.

    Raises:
        ValueError: says which has which.
    """
    rules = {"device": [x.device for x in tensors.values()]}
    if dtypes:
        rules["dtype"] = [x.dtype for x in tensors.values()]
    for rule, found in rules.items():
        if len(set(found)) > 1:
            raise ValueError(
                f"{', '.join(tensors)} must share a {rule}; got "
                f"{', '.join(map(str, found))}"
            )


def check_input(x: Tensor, weight: Tensor, name: str) -> None:
    """Refuse what cannot be multiplied with a layer's weight.

    Under autocast the dtypes may differ; it leaves float64 as it is.

    Raises:
        ValueError: gives both devices or both dtypes.
    """
    check_floating(**{name: x})
    check_alike(dtypes=False, **{name: x, "weights": weight})
    kind, dtypes = x.device.type, {x.dtype, weight.dtype}
    stays = kind == "meta" or torch.float64 in dtypes
    if len(dtypes) > 1 and (stays or not torch.is_autocast_enabled(kind)):
        check_alike(**{name: x, "weights": weight})


def check_tokens(x: Tensor, weight: Tensor) -> None:
    """Refuse what are no tokens for a layer with a weight (..., D).

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    check_shape("tokens", x, "B T D", D=weight.shape[-1])
    check_input(x, weight, "tokens")


def check_labels(labels: Tensor, batch: int, num_classes: int) -> None:
    """Refuse what is not one class an image; a GPU's values stay unread.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    check_shape("labels", labels, "B", B=batch)
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64; got {labels.dtype}")
    if labels.device.type == "cpu" and batch:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"labels must lie in 0 to {num_classes - 1}; got {low} to "
                f"{high}"
            )
