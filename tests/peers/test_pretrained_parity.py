"""A peer's own file, loaded here, gives the peer's logits.

Every parameter is random, biases, norms and LayerScale too: a tensor that
went to the wrong place cannot hide behind zeros or ones.
"""

import pytest
import torch

pytest.importorskip("timm", reason="needs the environment of `make peers`")
pytest.importorskip("torchvision", exc_type=ImportError)

import numpy as np
import timm
import torchvision
import transformers
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer as Timm

from vitlib.pretrained import load

D, L, H, M, P, S = 48, 3, 4, 144, 8, 40  # nothing a square, 25 patches


def randomise(model, seed=0):
    """Draw every parameter anew, none of them at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                noise = noise * max(value[0].numel(), 1) ** -0.5
            elif "norm" in name or "ln" in name or "scale" in name:
                noise = 1 + 0.3 * noise
            value.copy_(noise)
    return model.eval()


def random_images(size=S, channels=3):
    """Four images, the same ones in each test."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, channels, size, size, generator=generator)


def compare(model, logits, capsys, label, size=S, channels=3):
    """Hold logits within 1e-4, and say how close they came."""
    with torch.no_grad():
        ours = model(random_images(size, channels))
    assert logits.std() > 0.3, "logits too small to compare"
    gap = (ours - logits).abs().max().item()
    with capsys.disabled():
        print(f"\n{label}: gap {gap:.1e} (std {logits.std():.2f})", end="")
    assert gap <= 1e-4


def total(tensors):
    """How many numbers there are."""
    return sum(value.numel() for value in tensors.values())


def make_timm(**options):
    """timm's model with random weights."""
    sizes = {"img_size": S, "patch_size": P, "embed_dim": D, "depth": L}
    sizes |= {"num_heads": H, "mlp_ratio": M / D, "num_classes": 7}
    return randomise(Timm(**(sizes | options)))


TIMM = {
    "plain": {},
    "LayerScale": {"init_values": 1e-5},
    "no position for the class token": {"no_embed_class": True},
    "no bias of qkv": {"qkv_bias": False},
    "no class token, mean": {
        "class_token": False, "global_pool": "avg", "fc_norm": False},
    "grey": {"in_chans": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMM)
def test_timm(kind, tmp_path, capsys):
    peer = make_timm(**TIMM[kind])
    state = peer.state_dict()
    save_file(state, tmp_path / "model.safetensors")
    model, notes = load(tmp_path / "model.safetensors", num_heads=H)
    channels = TIMM[kind].get("in_chans", 3)
    with torch.no_grad():
        logits = peer(random_images(S, channels))
    compare(model, logits, capsys, f"timm, {kind}", S, channels)
    folded = total({k: v for k, v in state.items() if "gamma" in k})
    zeros = D if "no_embed_class" in TIMM[kind] else 0
    assert notes["parameters"] == total(state) - folded + zeros


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reg_tokens": 4}, "register tokens"),
        ({"global_pool": "avg"}, r"\(fc_norm\)"),
        ({"qk_norm": True}, "normed queries and keys"),
        ({"pre_norm": True}, "before the blocks"),
        ({"mlp_layer": timm.layers.SwiGLU}, "gated MLPs"),
        ({"mlp_layer": timm.layers.GluMlp}, "gated MLPs"),
        ({"global_pool": "map", "class_token": False}, "attention pooling"),
        ({"pos_embed": "none"}, "lacks 'pos_embed'"),
        ({"scale_mlp_norm": True}, "within a block"),
        ({"scale_attn_norm": True}, "within a block"),
    ],
)
def test_timm_models_that_are_no_plain_vit(options, message, tmp_path):
    peer = make_timm(**options)
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "model.safetensors", num_heads=H)


def test_timm_distilled(tmp_path):
    from timm.models.deit import VisionTransformerDistilled

    peer = VisionTransformerDistilled(
        img_size=S, patch_size=P, embed_dim=D, depth=L, num_heads=H
    )
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="distillation token"):
        load(tmp_path / "model.safetensors", num_heads=H)


def test_timm_resizes_positions_alike(tmp_path, capsys):
    """Its resample_abs_pos_embed, bicubic, 5x5 to 8x8 patches."""
    peer = make_timm()
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    model, _ = load(tmp_path / "model.safetensors", 64, num_heads=H)
    peer.set_input_size(img_size=64)
    with torch.no_grad():
        logits = peer(random_images(64))
    compare(model, logits, capsys, "timm, 40 to 64 px", 64)


def make_torchvision():
    """torchvision's model with random weights."""
    return randomise(
        torchvision.models.VisionTransformer(S, P, L, H, D, M, num_classes=7)
    )


def test_torchvision(tmp_path, capsys):
    peer = make_torchvision()
    torch.save(peer.state_dict(), tmp_path / "model.pth")
    model, notes = load(tmp_path / "model.pth", num_heads=H)
    assert notes["layout"] == "torchvision"
    with torch.no_grad():
        logits = peer(random_images())
    compare(model, logits, capsys, "torchvision")
    assert notes["parameters"] == total(peer.state_dict())


def test_torchvision_with_a_representation(tmp_path, capsys):
    peer = randomise(
        torchvision.models.VisionTransformer(
            S, P, L, H, D, M, num_classes=7, representation_size=20
        )
    )
    torch.save(peer.state_dict(), tmp_path / "model.pth")
    model, notes = load(tmp_path / "model.pth", num_heads=H)
    with torch.no_grad():
        logits = peer(random_images())
    compare(model, logits, capsys, "torchvision, representation")
    assert notes["parameters"] == total(peer.state_dict())


HUGGING_FACE = {
    "hidden_size": D,
    "num_hidden_layers": L,
    "num_attention_heads": H,
    "image_size": S,
    "patch_size": P,
}


def make_hugging_face(kind, **options):
    """A model of transformers with random weights, by class name."""
    name = "Dinov2" if kind.startswith("Dinov2") else "ViT"
    sizes = {"num_labels": 7, "intermediate_size": M, "mlp_ratio": M // D}
    config = getattr(transformers, f"{name}Config")(
        **HUGGING_FACE, **(sizes | options)
    )
    return randomise(getattr(transformers, kind)(config))


def files(peer, tmp_path):
    """The file that transformers writes, and one with its present names."""
    peer.save_pretrained(tmp_path)
    save_file(peer.state_dict(), tmp_path / "now.safetensors")
    return [tmp_path / "model.safetensors", tmp_path / "now.safetensors"]


def test_hugging_face_vit(tmp_path, capsys):
    peer = make_hugging_face("ViTForImageClassification", layer_norm_eps=1e-6)
    with torch.no_grad():
        logits = peer(random_images()).logits
    for path in files(peer, tmp_path):
        model, notes = load(path, num_heads=H)
        assert notes["layout"] == "Hugging Face ViT"
        compare(model, logits, capsys, f"transformers ViT {path.stem}")
        assert notes["parameters"] == total(peer.state_dict())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"layer_norm_eps": 1e-12}, "eps 1e-6 here"),
        ({"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}, ""),
    ],
)
def test_other_numerics_cost_little(options, line, tmp_path, capsys):
    """What the log warns of: another eps, and flax's GELU. Both measured."""
    peer = make_hugging_face("ViTForImageClassification", **options)
    path = files(peer, tmp_path)[0]
    model, notes = load(path, num_heads=H)
    assert line in "\n".join(notes["log"])
    with torch.no_grad():
        gap = (model(random_images()) - peer(random_images()).logits).abs()
    with capsys.disabled():
        print(f"\n{options}: gap {gap.max():.1e}", end="")
    assert 1e-6 < gap.max() < 5e-3


def test_hugging_face_vit_without_a_head(tmp_path, capsys):
    """Its pooler is the paper's hidden layer before the head."""
    peer = make_hugging_face("ViTModel", layer_norm_eps=1e-6)
    with torch.no_grad():
        pooled = peer(random_images()).pooler_output
    for path in files(peer, tmp_path):
        model, notes = load(path, num_heads=H)
        compare(model, pooled, capsys, "transformers ViT, pooler")
        assert notes["parameters"] == total(peer.state_dict())


def test_hugging_face_dinov2(tmp_path, capsys):
    peer = make_hugging_face("Dinov2Model")
    with torch.no_grad():
        pooled = peer(random_images()).pooler_output
    state = peer.state_dict()
    for path in files(peer, tmp_path):
        model, notes = load(path, num_heads=H)
        assert notes["layout"] == "Hugging Face Dinov2"
        compare(model, pooled, capsys, f"transformers Dinov2 {path.stem}")
        # one scale a branch and a layer, and pre-training's mask
        assert notes["parameters"] == total(state) - 2 * L * D - D


def test_hugging_face_dinov2_reads_its_head_from_two_vectors(tmp_path):
    peer = make_hugging_face("Dinov2ForImageClassification")
    path = files(peer, tmp_path)[0]
    with pytest.raises(ValueError, match=r"classifier\.weight is \(7, 96\)"):
        load(path, num_heads=H)
    model, _ = load(path, num_classes=0, num_heads=H)
    with torch.no_grad():
        ours = model.forward_features(random_images())[0]
        theirs = peer.dinov2(random_images()).last_hidden_state
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Dinov2Model", {"use_swiglu_ffn": True}, "gated MLPs"),
        ("ViTForMaskedImageModeling", {}, "a decoder"),
    ],
)
def test_hugging_face_models_that_are_no_plain_vit(
    kind, options, message, tmp_path
):
    peer = make_hugging_face(kind, **options)
    for path in files(peer, tmp_path):
        with pytest.raises(ValueError, match=message):
            load(path, num_heads=H)


def test_hugging_face_registers_and_distillation(tmp_path):
    for name, message in (
        ("Dinov2WithRegisters", "register tokens"),
        ("DeiT", "distillation token"),
    ):
        config = getattr(transformers, f"{name}Config")(**HUGGING_FACE)
        peer = getattr(transformers, f"{name}Model")(config)
        for path in files(peer, tmp_path):
            with pytest.raises(ValueError, match=message):
                load(path, num_heads=H)


def google_arrays(pre_logits=0):
    """The arrays of a released npz: true names, random numbers."""
    draw = np.random.default_rng(0)
    d = D // H

    def noise(*shape, scale=None):
        scale = scale or np.prod(shape[:-1]) ** -0.5
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    width = pre_logits or D
    arrays = {
        "cls": noise(1, 1, D),
        "embedding/kernel": noise(P, P, 3, D),
        "embedding/bias": noise(D, scale=1),
        "Transformer/posembed_input/pos_embedding": noise(1, 26, D, scale=1),
        "Transformer/encoder_norm/scale": 1 + noise(D, scale=0.3),
        "Transformer/encoder_norm/bias": noise(D, scale=1),
        "head/kernel": noise(width, 7),
        "head/bias": noise(7, scale=1),
    }
    if pre_logits:
        arrays["pre_logits/kernel"] = noise(D, width)
        arrays["pre_logits/bias"] = noise(width, scale=1)
    for layer in range(L):
        block = f"Transformer/encoderblock_{layer}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = noise(D, H, d, scale=0.15)
            arrays[f"{attention}/{part}/bias"] = noise(H, d, scale=1)
        arrays[f"{attention}/out/kernel"] = noise(H, d, D)
        arrays[f"{attention}/out/bias"] = noise(D, scale=1)
        for index in (0, 2):
            norm = f"{block}/LayerNorm_{index}"
            arrays[f"{norm}/scale"] = 1 + noise(D, scale=0.3)
            arrays[f"{norm}/bias"] = noise(D, scale=1)
        for index, shape in enumerate([(D, M), (M, D)]):
            dense = f"{block}/MlpBlock_3/Dense_{index}"
            arrays[f"{dense}/kernel"] = noise(*shape)
            arrays[f"{dense}/bias"] = noise(shape[1], scale=1)
    return arrays


def test_google(tmp_path, capsys):
    """timm's own reader of npz files is the judge."""
    arrays = google_arrays()
    np.savez(tmp_path / "google.npz", **arrays)
    peer = make_timm()
    peer.load_pretrained(str(tmp_path / "google.npz"))
    model, notes = load(tmp_path / "google.npz")  # it says how many heads
    assert notes["layout"] == "Google"
    with torch.no_grad():
        logits = peer(random_images())
    compare(model, logits, capsys, "Google's npz, by timm")
    assert notes["parameters"] == total(peer.state_dict())
