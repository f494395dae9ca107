"""Chapter 7: where the weights start, all in one place.

Sources: the released code of Dosovitskiy et al. 2021 (google-research/
vision_transformer) and the defaults of its library, flax.
"""

import torch
from torch import Tensor, nn

from vitlib._checks import check_deviation
from vitlib._shapes import check_floating


@torch.no_grad()
def init_weights(model: nn.Module, pos_std: float = 0.02) -> None:
    """Draw a ViT's starting weights in place.

    Chapter 7. What a layer gets, it gets by its name.

    Args:
        model: any module with timm's names; LayerNorms keep PyTorch's
            start, scale 1 and shift 0.
        pos_std: standard deviation of the positions; 0.02 is BERT's, kept
            by the released code.
    """
    check_deviation(pos_std=pos_std)
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        weight, bias = module.weight, module.bias
        if bias is not None:
            nn.init.zeros_(bias)
        match name.split("."):
            case [*_, "head"]:
                nn.init.zeros_(weight)  # the first loss is ln K exactly
            case [*_, "attn", "qkv"]:
                for third in weight.chunk(3):  # q, k, v: a layer each
                    nn.init.xavier_uniform_(third)
            case [*_, "attn", "proj"]:
                nn.init.xavier_uniform_(weight)
            case [*_, "mlp", "fc1" | "fc2"]:
                nn.init.xavier_uniform_(weight)
                nn.init.normal_(bias, std=1e-6)  # released code
            case _:  # patch projection, pre_logits: flax's default, LeCun's
                # a normal cut at two deviations keeps 0.8796 of its own
                std = module.in_features**-0.5 / 0.8796
                cut_normal_(weight, std)
    for name, parameter in model.named_parameters():
        if name == "cls_token":
            nn.init.zeros_(parameter)  # released code
        elif name == "pos_embed":
            nn.init.normal_(parameter, std=pos_std)


@torch.no_grad()
def cut_normal_(weight: Tensor, std: float) -> None:
    """Draw a normal cut at two deviations, in place.

    Chapter 7. What lies outside is drawn anew. These are the numbers that
    trunc_normal_ of PyTorch 2.13 draws; that of 2.11 draws others.

    Args:
        weight: any shape.
        std: standard deviation of the normal before the cut.
    """
    check_floating(weight=weight)
    check_deviation(std=std)
    if weight.is_meta:
        return
    weight.normal_(std=std)
    while (outside := weight.abs() > 2 * std).any():
        again = torch.empty_like(weight).normal_(std=std)
        weight.copy_(torch.where(outside, again, weight))
