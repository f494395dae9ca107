"""Chapter 8: what is decayed, and how fast it learns.

Loshchilov and Hutter 2019 (arXiv:1711.05101) for decoupled decay, 2017
(arXiv:1608.03983) for the cosine; Dosovitskiy et al. 2021
(arXiv:2010.11929), Table 3, for both on a ViT.
"""

import math
from itertools import zip_longest

import torch
from torch import nn

from vitlib._checks import check_choice, check_probability

OPTIMIZERS = ("adamw", "muon", "adam")
NO_DECAY = ("cls_token", "pos_embed")


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters: matrices decay, everything else does not.

    Chapter 8. A bias, a LayerNorm's scale, the class token and the
    positions have no product with an input whose size decay could limit.

    Args:
        model: any module; frozen parameters are left out.
        weight_decay: of the first group.

    Returns:
        Two groups for a PyTorch optimiser: decayed, and not decayed.
    """
    groups: tuple[list, list] = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            free = parameter.ndim < 2 or name.split(".")[-1] in NO_DECAY
            groups[free].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


def create_optimizers(
    model: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> list[torch.optim.Optimizer]:
    """Build what turns gradients into steps.

    Chapters 8 and 9.

    | name    | what it does                                              |
    |---------|-----------------------------------------------------------|
    | "adamw" | AdamW, matrices decayed                                   |
    | "muon"  | Muon on the matrices of the blocks, AdamW on the rest     |
    | "adam"  | Adam with an L2 term on everything: chapter 9's mistake   |

    Muon (Jordan 2024) replaces a matrix's momentum by the nearest matrix
    whose singular values are all one; scaled to the size of AdamW's steps
    (Liu et al. 2025, arXiv:2502.16982), it takes AdamW's learning rate.

    Args:
        model: what is trained.
        name: one of OPTIMIZERS.
        lr: learning rate; the schedule sets it again at every step.
        weight_decay: per step, in units of the learning rate.
        betas: AdamW's memories of the mean and the square of the gradient.

    Returns:
        One optimiser, or two.

    Raises:
        ValueError: if the name is unknown, or the model has no blocks for
            Muon.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    adam = {"lr": lr, "betas": betas, "fused": fused}
    decayed, others = decay_groups(model, weight_decay)
    if name == "adam":
        every = decayed["params"] + others["params"]
        return [torch.optim.Adam(every, weight_decay=weight_decay, **adam)]
    if name == "adamw":
        return [torch.optim.AdamW([decayed, others], **adam)]
    blocks = getattr(model, "blocks", [])
    inner = {id(p) for block in blocks for p in block.parameters()}
    matrices = [p for p in decayed["params"] if id(p) in inner]
    if not matrices:
        raise ValueError(
            'optimizer "muon" is for the matrices of model.blocks; '
            f"{type(model).__name__} has none to train"
        )
    decayed["params"] = [p for p in decayed["params"] if id(p) not in inner]
    muon = torch.optim.Muon(
        matrices, lr, weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW([decayed, others], **adam)]


def learning_rate(
    step: int, total: int, warmup: int, peak: float, floor: float = 0.0
) -> float:
    """Rise linearly, then fall along half a cosine.

    Chapter 8. A pure function of the step: nothing to save, nothing to get
    out of step after a resume.

    Args:
        step: 0 for the first update, total - 1 for the last.
        total: number of updates.
        warmup: updates that the rise takes; the last of them has the peak.
        peak: highest learning rate.
        floor: where the cosine would arrive, one step after the last.

    Returns:
        The learning rate of this update, always above the floor.

    Raises:
        ValueError: unless 0 <= step < total and 0 <= warmup <= total.
    """
    if not 0 <= step < total or not 0 <= warmup <= total:
        raise ValueError(
            "0 <= step < total and 0 <= warmup <= total must hold; got "
            f"step={step}, total={total}, warmup={warmup}"
        )
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / (total - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights a little towards the current ones.

    Chapter 8. Polyak and Juditsky 1992; average = decay * average +
    (1 - decay) * weights. Buffers, such as batch norm's, are copied.

    Args:
        average: a copy of the model, changed in place.
        model: the model in training.
        decay: 0 <= decay < 1.

    Raises:
        ValueError: if the decay lies outside, or the shapes differ.
    """
    check_probability(decay=decay)
    both = [(*m.parameters(), *m.buffers()) for m in (average, model)]
    for kept, current in zip_longest(*both, fillvalue=torch.empty(0)):
        if kept.shape != current.shape:
            raise ValueError(
                "average and model must have the same shapes; got "
                f"{tuple(kept.shape)} and {tuple(current.shape)}"
            )
    old, new = list(average.parameters()), list(model.parameters())
    torch._foreach_lerp_(old, new, 1 - decay)
    for kept, current in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(current)
