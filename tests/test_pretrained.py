"""vitlib.pretrained: every layout against Eq. 1-4 written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from vitlib import (
    VisionTransformer,
    ViTConfig,
    pretrained,
    resize_positions,
)
from vitlib.pretrained import load, load_or_book
from vitlib.weights import save_model

D, H, HEAD, M, L, P, C, K, SIDE = 12, 3, 4, 20, 2, 4, 3, 5, 3
N, S = SIDE * SIDE, SIDE * P


class Vit:
    """Eq. 1-4 for one image, float64, no matrix larger than the paper's."""

    def __init__(self, seed=0, scales=False, own_position=True, width=0):
        draw = np.random.default_rng(seed).standard_normal
        self.patch = draw((P, P, C, D)) / 5
        self.patch_bias, self.cls = draw(D), draw(D)
        self.positions = draw((N + 1, D))
        if not own_position:
            self.positions[0] = 0
        self.blocks = []
        for _ in range(L):
            block = {"norm1": (1 + draw(D) / 4, draw(D))}
            for part in "qkv":
                block[part] = draw((D, H, HEAD)) / 3, draw((H, HEAD))
            block["out"] = draw((H, HEAD, D)) / 3, draw(D)
            block["norm2"] = 1 + draw(D) / 4, draw(D)
            block["fc1"] = draw((D, M)) / 3, draw(M)
            block["fc2"] = draw((M, D)) / 4, draw(D)
            for scale in ("scale1", "scale2"):
                block[scale] = draw(D) if scales else np.ones(D)
            self.blocks.append(block)
        self.norm = 1 + draw(D) / 4, draw(D)
        self.rep = (draw((D, width)) / 3, draw(width)) if width else None
        self.head = draw((width or D, K)) / 3, draw(K)

    def __call__(self, image):
        """Image (C, H, W) to logits (K,), one patch and head at a time."""
        z = [self.cls]
        for top in range(0, S, P):
            for left in range(0, S, P):
                window = image[:, top : top + P, left : left + P]
                token = np.einsum("cpq,pqcd->d", window, self.patch)
                z.append(token + self.patch_bias)
        z = np.array(z) + self.positions
        for block in self.blocks:
            y, mixed = layer_norm(z, *block["norm1"]), 0
            for h in range(H):
                q, k, v = (
                    y @ block[part][0][:, h] + block[part][1][h]
                    for part in "qkv"
                )
                scores = np.exp(q @ k.T / math.sqrt(HEAD))
                weights = scores / scores.sum(axis=1, keepdims=True)
                mixed = mixed + weights @ v @ block["out"][0][h]
            z = z + block["scale1"] * (mixed + block["out"][1])
            y = layer_norm(z, *block["norm2"]) @ block["fc1"][0]
            y = y + block["fc1"][1]
            erf = np.vectorize(math.erf)
            y = y * (1 + erf(y / math.sqrt(2))) / 2 @ block["fc2"][0]
            z = z + block["scale2"] * (y + block["fc2"][1])
        y = layer_norm(z, *self.norm)[0]
        if self.rep:
            y = np.tanh(y @ self.rep[0] + self.rep[1])
        return y @ self.head[0] + self.head[1]


def layer_norm(z, scale, shift):
    """The released code's, eps 1e-6."""
    centred = z - z.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return scale * centred / np.sqrt(variance + 1e-6) + shift


def put(state, name, pair, axes=(1, 0)):
    """A kernel, turned to PyTorch's order, and its bias."""
    kernel, bias = pair
    state[f"{name}.weight"] = np.transpose(kernel, axes)
    state[f"{name}.bias"] = bias


def put_norm(state, name, pair):
    state[f"{name}.weight"], state[f"{name}.bias"] = pair


def flat(pair):
    """q, k or v as a matrix (D, h*d) and a vector."""
    return pair[0].reshape(D, H * HEAD), pair[1].reshape(H * HEAD)


def packed(block):
    """q, k and v side by side: (D, 3*h*d)."""
    parts = [flat(block[part]) for part in "qkv"]
    return tuple(np.concatenate(x, axis=-1) for x in zip(*parts, strict=True))


def out_of(block):
    return block["out"][0].reshape(H * HEAD, D), block["out"][1]


def as_timm(vit, scales=False, own_position=True):
    state = {"cls_token": vit.cls[None, None]}
    first = 0 if own_position else 1
    state["pos_embed"] = vit.positions[None, first:]
    put(state, "patch_embed.proj", (vit.patch, vit.patch_bias), (3, 2, 0, 1))
    for i, block in enumerate(vit.blocks):
        put_norm(state, f"blocks.{i}.norm1", block["norm1"])
        put(state, f"blocks.{i}.attn.qkv", packed(block))
        put(state, f"blocks.{i}.attn.proj", out_of(block))
        put_norm(state, f"blocks.{i}.norm2", block["norm2"])
        put(state, f"blocks.{i}.mlp.fc1", block["fc1"])
        put(state, f"blocks.{i}.mlp.fc2", block["fc2"])
        if scales:
            state[f"blocks.{i}.ls1.gamma"] = block["scale1"]
            state[f"blocks.{i}.ls2.gamma"] = block["scale2"]
    put_norm(state, "norm", vit.norm)
    if vit.rep:
        put(state, "pre_logits.fc", vit.rep)
    put(state, "head", vit.head)
    return state


def as_hugging_face(vit, new=False):
    """Names on disk, and those within transformers 5."""
    state = {"vit.embeddings.cls_token": vit.cls[None, None]}
    state["vit.embeddings.position_embeddings"] = vit.positions[None]
    put(state, "vit.embeddings.patch_embeddings.projection",
        (vit.patch, vit.patch_bias), (3, 2, 0, 1))  # fmt: skip
    for i, block in enumerate(vit.blocks):
        stem = f"vit.layers.{i}" if new else f"vit.encoder.layer.{i}"
        names = (
            ("attention.q_proj", "attention.k_proj", "attention.v_proj",
             "attention.o_proj", "mlp.fc1", "mlp.fc2")
            if new
            else ("attention.attention.query", "attention.attention.key",
                  "attention.attention.value", "attention.output.dense",
                  "intermediate.dense", "output.dense")
        )  # fmt: skip
        pairs = [flat(block[part]) for part in "qkv"]
        pairs += [out_of(block), block["fc1"], block["fc2"]]
        for name, pair in zip(names, pairs, strict=True):
            put(state, f"{stem}.{name}", pair)
        put_norm(state, f"{stem}.layernorm_before", block["norm1"])
        put_norm(state, f"{stem}.layernorm_after", block["norm2"])
    put_norm(state, "vit.layernorm", vit.norm)
    put(state, "classifier", vit.head)
    return state


def as_dinov2(vit):
    state = {"embeddings.cls_token": vit.cls[None, None]}
    state["embeddings.mask_token"] = np.ones((1, D))
    state["embeddings.position_embeddings"] = vit.positions[None]
    put(state, "embeddings.patch_embeddings.projection",
        (vit.patch, vit.patch_bias), (3, 2, 0, 1))  # fmt: skip
    for i, block in enumerate(vit.blocks):
        stem = f"encoder.layer.{i}"
        names = ("query", "key", "value")
        for name, part in zip(names, "qkv", strict=True):
            full = f"{stem}.attention.attention.{name}"
            put(state, full, flat(block[part]))
        put(state, f"{stem}.attention.output.dense", out_of(block))
        put(state, f"{stem}.mlp.fc1", block["fc1"])
        put(state, f"{stem}.mlp.fc2", block["fc2"])
        for n in (1, 2):
            put_norm(state, f"{stem}.norm{n}", block[f"norm{n}"])
            state[f"{stem}.layer_scale{n}.lambda1"] = block[f"scale{n}"]
    put_norm(state, "layernorm", vit.norm)
    put(state, "classifier", vit.head)
    return state


def as_torchvision(vit, mlp=("0", "3")):
    state = {"class_token": vit.cls[None, None]}
    state["encoder.pos_embedding"] = vit.positions[None]
    put(state, "conv_proj", (vit.patch, vit.patch_bias), (3, 2, 0, 1))
    for i, block in enumerate(vit.blocks):
        stem = f"encoder.layers.encoder_layer_{i}"
        put_norm(state, f"{stem}.ln_1", block["norm1"])
        kernel, bias = packed(block)
        state[f"{stem}.self_attention.in_proj_weight"] = kernel.T
        state[f"{stem}.self_attention.in_proj_bias"] = bias
        put(state, f"{stem}.self_attention.out_proj", out_of(block))
        put_norm(state, f"{stem}.ln_2", block["norm2"])
        put(state, f"{stem}.mlp.{mlp[0]}", block["fc1"])
        put(state, f"{stem}.mlp.{mlp[1]}", block["fc2"])
    put_norm(state, "encoder.ln", vit.norm)
    if vit.rep:
        put(state, "heads.pre_logits", vit.rep)
    put(state, "heads.head", vit.head)
    return state


def as_google(vit):
    def dense(name, pair):
        return {f"{name}/kernel": pair[0], f"{name}/bias": pair[1]}

    def norm(name, pair):
        return {f"{name}/scale": pair[0], f"{name}/bias": pair[1]}

    state = {"cls": vit.cls[None, None]}
    state["Transformer/posembed_input/pos_embedding"] = vit.positions[None]
    state |= dense("embedding", (vit.patch, vit.patch_bias))
    for i, block in enumerate(vit.blocks):
        stem = f"Transformer/encoderblock_{i}"
        attention = f"{stem}/MultiHeadDotProductAttention_1"
        names = ("query", "key", "value", "out")
        for name, part in zip(names, ("q", "k", "v", "out"), strict=True):
            state |= dense(f"{attention}/{name}", block[part])
        state |= dense(f"{stem}/MlpBlock_3/Dense_0", block["fc1"])
        state |= dense(f"{stem}/MlpBlock_3/Dense_1", block["fc2"])
        state |= norm(f"{stem}/LayerNorm_0", block["norm1"])
        state |= norm(f"{stem}/LayerNorm_2", block["norm2"])
    state |= norm("Transformer/encoder_norm", vit.norm)
    if vit.rep:
        state |= dense("pre_logits", vit.rep)
    return state | dense("head", vit.head)


def tensors(state):
    return {k: torch.tensor(v).float().contiguous() for k, v in state.items()}


def write(state, path):
    """Write arrays the way the ending of the path says."""
    if path.suffix == ".npz":
        small = {k: np.asarray(v, np.float32) for k, v in state.items()}
        np.savez(path, **small)
    elif path.suffix == ".pth":
        torch.save(tensors(state), path)
    else:
        save_file(tensors(state), path)
    return path


KINDS = {
    "timm": ("timm", {}, as_timm),
    "timm, LayerScale": (
        "timm", {"scales": True}, lambda v: as_timm(v, scales=True)),
    "timm, no class position": (
        "timm", {"own_position": False},
        lambda v: as_timm(v, own_position=False)),
    "timm, pre_logits": ("timm", {"width": 7}, as_timm),
    "Hugging Face ViT": ("Hugging Face ViT", {}, as_hugging_face),
    "transformers 5": (
        "Hugging Face ViT", {}, lambda v: as_hugging_face(v, new=True)),
    "Dinov2": ("Hugging Face Dinov2", {"scales": True}, as_dinov2),
    "torchvision": ("torchvision", {"width": 7}, as_torchvision),
    "torchvision, old": (
        "torchvision", {},
        lambda v: as_torchvision(v, ("linear_1", "linear_2"))),
    "Google": ("Google", {}, as_google),
    "Google, ImageNet-21k": ("Google", {"width": 7}, as_google),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["safetensors", "pth", "npz"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_computes_the_papers_equations(kind, ending, tmp_path):
    layout, options, names = KINDS[kind]
    vit = Vit(**options)
    state = names(vit)
    path = write(state, tmp_path / f"model.{ending}")
    model, notes = load(path, num_heads=H)
    assert not model.training
    assert notes["layout"] == layout
    images = np.random.default_rng(9).standard_normal((2, C, S, S))
    truth = np.array([vit(image) for image in images])
    with torch.no_grad():
        logits = model(torch.tensor(images).float()).double().numpy()
    assert truth.std() > 0.2
    assert np.abs(logits - truth).max() < 1e-5
    numbers = sum(value.size for value in state.values())
    folded = 2 * L * D if options.get("scales") else 0
    masked = D if kind == "Dinov2" else 0
    added = 0 if options.get("own_position", True) else D
    assert notes["parameters"] == numbers - folded - masked + added
    assert f"{len(state)} tensors, {numbers:,} numbers" in notes["log"][0]
    log = "\n".join(notes["log"])
    assert ("LayerScale: folded into 4 layers" in log) == bool(folded)
    assert ("mask_token: dropped" in log) == bool(masked)
    assert ("zeros stand for one" in log) == bool(added)
    assert ("GELU: exact here" in log) == (layout == "Google")
    assert ("eps 1e-6 here" in log) == (layout == "Hugging Face ViT")


@pytest.mark.parametrize("name", KINDS)
def test_a_model_goes_out_and_comes_back(name, tmp_path):
    """The other way: from the loaded model, the peer's file again."""
    _, options, names = KINDS[name]
    vit = Vit(**options)
    path = write(names(vit), tmp_path / "there.safetensors")
    model, _ = load(path, num_heads=H)
    save_model(model, tmp_path / "own.safetensors")
    again, notes = load(tmp_path / "own.safetensors")
    assert notes["layout"] == "vitlib"
    assert again.config == model.config
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    back = as_timm(vit, **{k: v for k, v in options.items() if k != "width"})
    if options.get("scales"):
        return  # folded: no longer the peer's numbers
    own = {k: v.clone() for k, v in model.state_dict().items()}
    if not options.get("own_position", True):
        own["pos_embed"] = own["pos_embed"][:, 1:]
    back = tensors(back)
    weight = back["patch_embed.proj.weight"]
    back["patch_embed.proj.weight"] = weight.flatten(1)
    assert own.keys() == back.keys()
    for key, value in own.items():
        assert torch.equal(value, back[key])


def test_a_patch_projection_may_be_a_matrix(tmp_path):
    state = tensors(as_timm(Vit()))
    save_file(state, tmp_path / "conv")
    conv, _ = load(tmp_path / "conv", num_heads=H)
    weight = state["patch_embed.proj.weight"]
    state["patch_embed.proj.weight"] = weight.flatten(1)
    save_file(state, tmp_path / "matrix")
    matrix, notes = load(tmp_path / "matrix", num_heads=H)
    assert matrix.config == conv.config
    x = torch.randn(2, C, S, S)
    assert torch.equal(matrix(x), conv(x))
    assert "patches: a matrix, read as 3 x 4 x 4" in notes["log"]


def timm_file(path, **options):
    return write(as_timm(Vit(**options)), path)


def test_what_becomes_of_the_head(tmp_path):
    path = timm_file(tmp_path / "model.safetensors", width=7)
    kept, notes = load(path, num_heads=H)
    assert "head: kept, 5 classes" in notes["log"]
    same, _ = load(path, num_classes=K, num_heads=H)
    x = torch.randn(2, C, S, S)
    assert torch.equal(same(x), kept(x))
    without, notes = load(path, num_classes=0, num_heads=H)
    assert "head: 5 classes in the file; now none" in notes["log"]
    features = kept.forward_features(x)[0][:, 0]
    assert torch.equal(without(x), features)  # pre_logits went, too
    new, notes = load(path, num_classes=2, num_heads=H)
    line = "head: 5 classes in the file; now zeros for 2 classes"
    assert line in notes["log"]
    assert torch.equal(new(x), torch.zeros(2, 2))
    assert new.head.in_features == D


def test_a_file_without_a_head(tmp_path):
    state = as_timm(Vit())
    for part in ("weight", "bias"):
        del state[f"head.{part}"]
    path = write(state, tmp_path / "model.safetensors")
    model, notes = load(path, num_heads=H)
    assert model.config.num_classes == 0
    assert "head: the file has none" in notes["log"]
    model, _ = load(path, num_classes=3, num_heads=H)
    assert model.head.weight.shape == (3, D)
    assert not model.head.weight.any()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_positions_are_resized_by_the_named_method(mode, tmp_path):
    path = timm_file(tmp_path / "model.safetensors")
    small, _ = load(path, num_heads=H)
    model, notes = load(path, (20, 28), mode=mode, num_heads=H)
    table = resize_positions(small.pos_embed, (3, 3), (5, 7), mode)
    assert torch.equal(model.pos_embed, table)
    assert f"positions: 12 px to (20, 28) px, {mode}" in notes["log"]
    assert notes["parameters"] == sum(p.numel() for p in model.parameters())
    with pytest.raises(ValueError, match="unknown mode 'nearest'"):
        load(path, 24, mode="nearest", num_heads=H)


def test_heads_are_known_said_or_guessed_aloud(tmp_path):
    state = as_google(Vit())
    path = write(state, tmp_path / "google.npz")
    assert load(path)[0].config.num_heads == H  # its shapes say it
    path = timm_file(tmp_path / "timm.safetensors")
    with pytest.raises(ValueError, match="64 does not divide embed_dim=12"):
        load(path)
    for width, depth, heads, why in [
        (128, 1, 2, "by the convention of 64 components a head"),
        (128, 6, 4, r"as in Book/4"),
    ]:
        config = ViTConfig(
            16, 8, 3, 2, width, depth, num_heads=heads, mlp_ratio=1
        )
        state = VisionTransformer(config).state_dict()
        weight = state["patch_embed.proj.weight"]
        state["patch_embed.proj.weight"] = weight.unflatten(1, (3, 8, 8))
        save_file(state, tmp_path / "model.safetensors")
        model, notes = load(tmp_path / "model.safetensors")
        assert model.config.num_heads == heads
        line = f"heads: {heads}, {why}; num_heads= says otherwise"
        assert line in notes["log"]


def test_a_hidden_width_that_no_ratio_hits(tmp_path):
    """11 * (15 / 11) is less than 15 in floating point."""
    assert int(11 * (15 / 11)) == 14
    config = ViTConfig(8, 4, 3, 2, 11, 1, num_heads=1, mlp_ratio=15.5 / 11)
    model = VisionTransformer(config)
    assert model.blocks[0].mlp.fc1.out_features == 15
    save_file(model.state_dict(), tmp_path / "model")
    again, _ = load(tmp_path / "model", num_heads=1)
    assert again.blocks[0].mlp.fc1.out_features == 15


def test_wrapped_state_dicts(tmp_path):
    """DeiT wraps them in "model"; DDP puts "module." before each name."""
    state = tensors(as_timm(Vit()))
    torch.save({"model": state, "epoch": 3}, tmp_path / "deit.pth")
    named = {f"module.{k}": v for k, v in state.items()}
    torch.save({"state_dict": named}, tmp_path / "ddp.pth")
    torch.save(
        state, tmp_path / "old.bin", _use_new_zipfile_serialization=False
    )
    x = torch.randn(1, C, S, S)
    outputs = [
        load(tmp_path / name, num_heads=H)[0](x)
        for name in ("deit.pth", "ddp.pth", "old.bin")
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_half_precision_is_read(tmp_path):
    state = tensors(as_timm(Vit()))
    full = write(as_timm(Vit()), tmp_path / "full.safetensors")
    half = {k: v.to(torch.bfloat16) for k, v in state.items()}
    save_file(half, tmp_path / "half.safetensors")
    model, _ = load(tmp_path / "half.safetensors", num_heads=H)
    assert model.head.weight.dtype == torch.float32
    x = torch.randn(1, C, S, S)
    # bfloat16 keeps 8 bits of a number, over two layers
    assert_close(model(x), load(full, num_heads=H)[0](x), rtol=0, atol=0.2)


STRANGERS = {
    "reg_token": "register tokens",
    "register_tokens": "register tokens",
    "dist_token": "distillation token",
    "head_dist.weight": "distillation token",
    "embeddings.distillation_token": "distillation token",
    "blocks.0.mlp.w12.weight": "gated MLPs",
    "blocks.0.mlp.fc1_g.weight": "gated MLPs",
    "blocks.0.mlp.norm.weight": "within a block",
    "blocks.0.attn.q_norm.weight": "normed queries and keys",
    "fc_norm.weight": r"\(fc_norm\)",
    "blocks.0.attn.relative_position_bias_table": "relative position",
    "norm_pre.weight": "before the blocks",
    "blocks.0.attn.q_bias": "keys without",
    "attn_pool.latent": "attention pooling",
    "conv_root/kernel": "convolutional stem",
    "decoder.0.weight": "decoder",
    "something.else": "nothing here holds something.else",
    "blocks.0.attn.rope.freqs": "nothing here holds blocks.0.attn.rope.freqs",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_a_plain_vit_cannot_hold_is_refused_by_name(name, tmp_path):
    state = as_timm(Vit()) | {name: np.ones(D)}
    path = write(state, tmp_path / "model.safetensors")
    message = rf"model\.safetensors was refused: .*{STRANGERS[name]}"
    with pytest.raises(ValueError, match=message):
        load(path, num_heads=H)


def test_a_gated_mlp_under_plain_names(tmp_path):
    state = as_timm(Vit())
    for i in range(L):
        weight = state[f"blocks.{i}.mlp.fc2.weight"]
        state[f"blocks.{i}.mlp.fc2.weight"] = weight[:, : M // 2]
    path = write(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"fc1 makes 20 .* takes half"):
        load(path, num_heads=H)


LAYOUTS = {
    "timm": as_timm,
    "Hugging Face": as_hugging_face,
    "Dinov2": as_dinov2,
    "torchvision": as_torchvision,
    "Google": as_google,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_tensor_may_lack_or_have_another_shape(layout, tmp_path):
    """Each in turn. The patch bias alone may lack: Eq. 1 has none."""
    state = LAYOUTS[layout](Vit())
    whole = write(state, tmp_path / "model.safetensors")
    load(whole, num_heads=H)
    patch_bias = {"patch_embed.proj.bias", "conv_proj.bias", "embedding/bias",
                  "vit.embeddings.patch_embeddings.projection.bias",
                  "embeddings.patch_embeddings.projection.bias"}  # fmt: skip
    spare = patch_bias | {"embeddings.mask_token"}
    for name, value in state.items():
        rest = {k: v for k, v in state.items() if k != name}
        path = write(rest, tmp_path / "model.safetensors")
        scale = "layer_scale" in name
        if name in spare or scale:  # absent: the model has none of it
            load(path, num_heads=H)
        else:
            with pytest.raises(ValueError, match=r"was refused"):
                load(path, num_heads=H)
        for axis in range(value.ndim if "mask" not in name else 0):
            if value.ndim == 4 and value.shape[axis] == C:
                continue  # as good a model, of images of more channels
            more = np.concatenate([value, np.take(value, [0], axis)], axis)
            path = write(rest | {name: more}, tmp_path / "model.safetensors")
            with pytest.raises(ValueError, match=r"was refused"):
                load(path, num_heads=H)


def test_a_file_of_something_else(tmp_path):
    path = write({"conv1.weight": np.ones(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"no ViT of .*named conv1\.weight"):
        load(path)


def test_load_by_name_and_in_place_of_it(capsys, monkeypatch):
    model, notes = load("book")
    assert notes["name"] == "book"
    assert model.config.num_classes == len(notes["classes"])
    model, notes = load("book", num_classes=5)
    assert "classes" not in notes  # the head they belong to went
    assert capsys.readouterr().out == ""

    def out_of_reach(name):
        raise ConnectionError("no hub\nand no cache")

    monkeypatch.setattr(pretrained, "fetch", out_of_reach)
    _, notes = load_or_book("vit-b16", 224)
    assert notes["name"] == "book"
    said = capsys.readouterr().out
    assert "vit-b16 is out of reach (no hub)" in said
    assert len(said.splitlines()) == 1
