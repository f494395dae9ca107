"""Chapter 15: attention flow, how much could pass from a patch to a token.

Abnar & Zuidema 2020 (arXiv:2005.00928), section 3: the layers as a network
of pipes, attention weights as their capacities.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitlib.inspection.rollout import layer_matrix

# Capacities are whole numbers in SciPy; 1 becomes this, the largest power of
# two that flows of 32 bits hold. Rounding moves each pipe by half a unit at
# most, and so a flow by at most L T^2 / 2^31.
UNIT = 2**30


def flow(
    weights: Sequence[Tensor],
    sources: Sequence[int] = (0,),
    residual: float = 0.5,
) -> Tensor:
    """Find the maximum flow from tokens of the last layer to input tokens.

    Chapter 15. Abnar & Zuidema 2020, section 3. The pipe from token i of a
    layer's output to token j of its input holds A_ij of layer_matrix. Every
    input token is a sink of its own, so the flows of a source need not sum
    to 1: pipes are used again for each.

    Args:
        weights: of each layer from the first on, (B, h, T, T).
        sources: tokens of the last layer; 0 is the class token.
        residual: see layer_matrix.

    Returns:
        (B, S, T), float64, 0 to 1, on the CPU: for each source the flow to
        each input token.

    Raises:
        ValueError: if a layer is missing or does not fit the others, or a
            source is no token.
    """
    matrices: list[Tensor] = []
    for layer in weights:
        like = matrices[0] if matrices else None
        matrices.append(layer_matrix(layer, residual, like=like))
    if not matrices:
        raise ValueError("flow needs at least one layer; got none")
    B, T, _ = matrices[0].shape
    whole = all(type(token) is int for token in sources)
    if not len(sources) or not whole or not set(sources) <= set(range(T)):
        raise ValueError(
            f"sources must be tokens from 0 to {T - 1}; got {list(sources)}"
        )
    pipes = torch.stack(matrices[::-1]).double().cpu()  # (L, B, T, T)
    capacities = (pipes * UNIT).round().int().numpy()
    found = torch.empty(B, len(sources), T, dtype=torch.float64)
    for image in range(B):
        for row, source in enumerate(sources):
            flows = _flows(capacities[:, image], source)
            found[image, row] = torch.tensor(flows, dtype=torch.float64)
    return found / UNIT


def _flows(capacities: np.ndarray, source: int) -> list[int]:
    """Maximum flows of one image from a source to every input token.

    Args:
        capacities: int32 array (L, T, T), the last layer first.
        source: a token of the last layer.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    L, T, _ = capacities.shape
    layer, above, below = np.int32(np.nonzero(capacities))
    ends = layer * T + above, (layer + 1) * T + below
    count = (L + 1) * T
    network = csr_array(
        (capacities[layer, above, below], ends), shape=(count, count)
    )
    return [
        maximum_flow(network, source, L * T + sink).flow_value
        for sink in range(T)
    ]
