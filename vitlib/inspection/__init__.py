"""Chapters 12 to 16: looking inside a trained model."""

from vitlib.inspection.faithfulness import area, bootstrap, deletion, insertion
from vitlib.inspection.fills import make_fills, replace_patches
from vitlib.inspection.filters import (
    component_pictures,
    principal_components,
    shuffled_filters,
    subspace_overlap,
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
from vitlib.inspection.sanity import cascade, rank_correlation
from vitlib.inspection.similarity import grid_positions, position_similarity
from vitlib.inspection.structure import (
    distance_r2,
    row_column_share,
    similarity_by_distance,
    similarity_groups,
)
from vitlib.inspection.targets import cosine_to, probability, scores
from vitlib.inspection.waves import spectrum, strongest_waves

__all__ = [
    "area",
    "attention_relevance",
    "attention_x_gradient",
    "bootstrap",
    "cascade",
    "class_map",
    "component_pictures",
    "cosine_to",
    "deletion",
    "distance_r2",
    "greedy_order",
    "grid_positions",
    "input_gradient",
    "insertion",
    "integrated_gradients",
    "make_fills",
    "occlusion",
    "patch_order",
    "position_similarity",
    "principal_components",
    "probability",
    "random_order",
    "rank_correlation",
    "replace_patches",
    "row_column_share",
    "scores",
    "shuffled_filters",
    "similarity_by_distance",
    "similarity_groups",
    "spectrum",
    "strongest_waves",
    "subspace_overlap",
]
