"""Chapters 12 to 16: looking inside a trained model."""

from vitlib.inspection.distance import (
    attention_distance,
    class_token_share,
    pixel_distances,
    uniform_distance,
)
from vitlib.inspection.faithfulness import area, bootstrap, deletion, insertion
from vitlib.inspection.fills import make_fills, replace_patches
from vitlib.inspection.filters import (
    component_pictures,
    principal_components,
    shuffled_filters,
    subspace_overlap,
)
from vitlib.inspection.flow import flow
from vitlib.inspection.methods import (
    attention_maps,
    fill_maps,
    gradient_maps,
    model_free_maps,
)
from vitlib.inspection.orders import greedy_order, patch_order, random_order
from vitlib.inspection.relevance import (
    attention_relevance,
    attention_x_gradient,
    class_map,
    input_gradient,
    integrated_gradients,
    occlusion,
)
from vitlib.inspection.rollout import (
    Rollout,
    layer_matrix,
    rollout,
    upsample,
)
from vitlib.inspection.sanity import cascade, rank_correlation
from vitlib.inspection.similarity import grid_positions, position_similarity
from vitlib.inspection.stream import stream
from vitlib.inspection.structure import (
    distance_r2,
    row_column_share,
    similarity_by_distance,
    similarity_groups,
)
from vitlib.inspection.targets import (
    cosine_to,
    probability,
    projection_on,
    scores,
)
from vitlib.inspection.waves import spectrum, strongest_waves

__all__ = [
    "Rollout",
    "area",
    "attention_distance",
    "attention_maps",
    "attention_relevance",
    "attention_x_gradient",
    "bootstrap",
    "cascade",
    "class_map",
    "class_token_share",
    "component_pictures",
    "cosine_to",
    "deletion",
    "distance_r2",
    "fill_maps",
    "flow",
    "gradient_maps",
    "greedy_order",
    "grid_positions",
    "input_gradient",
    "insertion",
    "integrated_gradients",
    "layer_matrix",
    "make_fills",
    "model_free_maps",
    "occlusion",
    "patch_order",
    "pixel_distances",
    "position_similarity",
    "principal_components",
    "probability",
    "projection_on",
    "random_order",
    "rank_correlation",
    "replace_patches",
    "rollout",
    "row_column_share",
    "scores",
    "shuffled_filters",
    "similarity_by_distance",
    "similarity_groups",
    "spectrum",
    "stream",
    "strongest_waves",
    "subspace_overlap",
    "uniform_distance",
    "upsample",
]
