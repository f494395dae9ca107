"""Chapter 11: the names that others give to the same tensors.

A layout is a table: a pattern of a peer's name, and the name here, which is
timm's. The rules of a table are applied in their order. Rank 0.
"""

Rules = tuple[tuple[str, str], ...]

HUGGING_FACE: Rules = (
    (r"^(vit|dinov2)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.attention\.(?:attention\.)?(q|k|v)(?:uery|ey|alue|_proj)\.",
     r".attn.\1."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.layer_scale(1|2)\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
    (r"^pooler\.dense\.", "pre_logits.fc."),
    (r"^classifier\.", "head."),
)  # fmt: skip
TORCHVISION: Rules = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_(1|2)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(linear_1|0)\.", ".mlp.fc1."),
    (r"\.mlp\.(linear_2|3)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.pre_logits\.", "pre_logits.fc."),
    (r"^heads\.head\.", "head."),
)
GOOGLE: Rules = (
    (r"^cls$", "cls_token"),
    (r"^embedding/", "patch_embed.proj."),
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"\.LayerNorm_0/", ".norm1."),
    (r"\.LayerNorm_2/", ".norm2."),
    (r"\.MultiHeadDotProductAttention_1/(q|k|v)(uery|ey|alue)/", r".attn.\1."),
    (r"\.MultiHeadDotProductAttention_1/out/", ".attn.proj."),
    (r"\.MlpBlock_3/Dense_0/", ".mlp.fc1."),
    (r"\.MlpBlock_3/Dense_1/", ".mlp.fc2."),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^pre_logits/", "pre_logits.fc."),
    (r"^head/", "head."),
    (r"\.scale$", ".weight"),
)
# Google's kernels map inputs to outputs, PyTorch's weights the other way.
KERNELS: Rules = (
    (r"^patch_embed\.proj\.kernel$", "ph pw c d -> d c ph pw"),
    (r"\.attn\.[qkv]\.kernel$", "width h d -> (h d) width"),
    (r"\.attn\.[qkv]\.bias$", "h d -> (h d)"),
    (r"\.attn\.proj\.kernel$", "h d width -> width (h d)"),
    (r"\.kernel$", "before after -> after before"),
)
LAYOUTS: dict[str, Rules] = {
    "vitlib": (),
    "timm": (),
    "Hugging Face ViT": HUGGING_FACE,
    "Hugging Face Dinov2": HUGGING_FACE,
    "torchvision": TORCHVISION,
    "Google": GOOGLE,
}
# What a plain ViT cannot hold, by the peers' names for it.
REFUSED: Rules = (
    (r"reg_token|register_tokens", "register tokens"),
    (r"dist_token|head_dist|distillation", "a distillation token"),
    (r"mlp\.(w12|w3|weights_|fc1_[gx]|gate_|up_proj)", "gated MLPs (SwiGLU)"),
    (r"mlp\.norm|attn\.norm|attn\.inner", "LayerNorms within a block"),
    (r"[qk]_norm|norm_[qk]|query_norm|key_norm", "normed queries and keys"),
    (r"fc_norm", "a LayerNorm after the mean over patches (fc_norm)"),
    (r"rel_pos|relative_position", "relative position biases"),
    (r"norm_pre|pre_layrnorm", "a LayerNorm before the blocks"),
    (r"[qv]_bias$", "queries and values with a bias, keys without"),
    (r"attn_pool|MAPHead", "attention pooling"),
    (r"conv_root|conv_bn_relu|backbone\.|/unit\d", "a convolutional stem"),
    (r"^decoder\.", "a decoder of masked pre-training"),
)
# What a layout's own library computes otherwise, as a line of the log.
NUMERICS = {
    "Google": "GELU: exact here; the tanh approximation in the authors' code",
    "Hugging Face ViT": "LayerNorm: eps 1e-6 here, as in the authors' code; "
    "1e-12 in transformers, unless its config.json says otherwise",
}
