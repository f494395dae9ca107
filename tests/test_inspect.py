"""`python -m vitlib inspect`: any picture, whole results or none."""

import dataclasses
import io
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch.testing import assert_close

from vitlib import VisionTransformer, ViTConfig, _picture, plot
from vitlib.__main__ import main
from vitlib._picture import BrokenPictureError, read_picture
from vitlib.inspection import attention_distance, rollout
from vitlib.pretrained import load
from vitlib.weights import save_model

FIGURES = ("attention", "distance", "filters", "picture", "rollout")
CONFIG = ViTConfig(
    img_size=16, patch_size=4, num_classes=3, embed_dim=16, depth=2,
    num_heads=2, pos_std=0.5,
)  # fmt: skip
GREY = dataclasses.replace(CONFIG, in_chans=1)
RED, BLUE = (250, 10, 20), (10, 20, 250)


@pytest.fixture
def weights(tmp_path):
    """A function that writes a small model's file."""

    def write(config=CONFIG, **notes):
        torch.manual_seed(0)
        model = VisionTransformer(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        path = tmp_path / "small.safetensors"
        stats = {"mean": [0.4] * config.in_chans, "std": [0.2] * 3}
        stats["std"] = stats["std"][: config.in_chans]
        save_model(model, path, **stats, **notes)
        return str(path)

    return write


@pytest.fixture
def photo(tmp_path):
    """A picture of two colours: red on the left, blue on the right."""
    image = Image.new("RGB", (40, 40), RED)
    image.paste(BLUE, (20, 0, 40, 40))
    image.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def drafts(monkeypatch):
    """Figures are made, but not painted: that takes seconds."""

    def save(figure, path):
        plt.close(figure)
        path.touch()

    monkeypatch.setattr(plot, "save", save)


@pytest.fixture
def run(tmp_path, capsys):
    """Run inspect: exit code, stdout, stderr and what is in out/."""

    def call(image, *options):
        out = tmp_path / "results" / "out"
        try:
            code = main(
                ["inspect", str(image), "--folder", str(out), *options]
            )
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        left = sorted(p.name for p in out.parent.rglob("*"))
        return code, said.out, said.err, left

    return call


def test_the_folder_holds_figures_and_numbers(run, weights, photo, tmp_path):
    file = weights(classes=["ant", "bee", "cat"])
    code, out, err, left = run(photo, "--weights", file, "--json")
    assert (code, err.count("error")) == (0, 0)
    figures = [f"{name}.png" for name in (*FIGURES, "positions")]
    assert left == sorted(["out", "inspect.json", *figures])
    folder = tmp_path / "results" / "out"
    for name in figures:
        with Image.open(folder / name) as image:
            assert min(image.size) > 100
    printed = json.loads(out)
    stored = json.loads((folder / "inspect.json").read_text())
    assert printed["command"] == "inspect"
    assert {k: printed[k] for k in stored} == stored
    assert stored["grid"] == [4, 4]
    assert stored["weights"]["mean"] == [0.4] * 3
    best = stored["classes"]
    assert {row["class"] for row in best} == {"ant", "bee", "cat"}
    assert sum(row["probability"] for row in best) == pytest.approx(1)


def test_its_numbers_are_those_of_one_plain_pass(run, weights, photo, drafts):
    file = weights()
    _, out, _, _ = run(photo, "--weights", file, "--json")
    found = json.loads(out)
    model, _ = load(file)
    pixels, _ = read_picture(photo, (16, 16), 3)
    x = (pixels[None] / 255 - 0.4) / 0.2
    with torch.no_grad():
        logits, layers = model(x, need_weights=True)
    expected = [attention_distance(w, (4, 4), 4)[0].tolist() for w in layers]
    trained = found["trained"]
    near = {"rtol": 1e-5, "atol": 1e-5}
    assert_close(trained["attention_distance_px"], expected, **near)
    shares = [w[0, :, 1:, 0].mean(dim=-1).tolist() for w in layers]
    assert_close(trained["class_token_share"], shares, **near)
    row = rollout(layers)[0, 0, 1:] * 17
    peak = trained["rollout_peak_in_uniform_shares"]
    assert peak == pytest.approx(row.max().item(), rel=1e-5)
    assert trained["rollout_peak_row_column"] == list(
        divmod(int(row.argmax()), 4)
    )
    likeliest = logits.softmax(dim=1).max().item()
    assert found["classes"][0]["probability"] == pytest.approx(likeliest)
    control = found["untrained"]["attention_distance_px"]
    assert np.shape(control) == (2, 2)
    assert control != expected
    places = np.stack(np.divmod(np.arange(16), 4), axis=1) * 4.0
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert found["uniform_distance_px"] == pytest.approx(gaps.mean())


@pytest.mark.parametrize(
    ("changes", "has_positions"),
    [
        ({"in_chans": 1}, True),
        ({"pos_embed": "none"}, False),
        ({"pos_embed": "relative"}, False),
        ({"pos_embed": "sincos"}, True),
        ({"class_token": False, "global_pool": "avg"}, True),
        ({"num_classes": 0, "depth": 1}, True),
        ({"img_size": (16, 24)}, True),
    ],
    ids=str,
)
def test_models_of_every_kind(
    changes, has_positions, run, weights, photo, drafts
):
    file = weights(dataclasses.replace(CONFIG, **changes))
    code, out, _, left = run(photo, "--weights", file, "--json")
    assert code == 0
    found = json.loads(out)
    assert ("positions.png" in left) == has_positions
    assert bool(found["trained"]["position_similarity"]) == has_positions
    assert len(found["classes"]) == changes.get("num_classes", 3)
    token = changes.get("class_token", True)
    assert bool(found["trained"]["class_token_share"]) == token


def test_another_image_size(run, weights, photo, drafts):
    file = weights()
    code, _, err, _ = run(photo, "--weights", file, "--img-size", "30")
    assert (code, "H=30, W=30, P=4" in err) == (2, True)
    code, out, _, _ = run(
        photo, "--weights", file, "--img-size", "32", "--json"
    )
    assert (code, json.loads(out)["grid"]) == (0, [8, 8])


# --- pictures --------------------------------------------------------------


def read(path, channels=3, size=(8, 8)):
    pixels, log = read_picture(path, size, channels)
    assert pixels.shape == (channels, *size)
    assert pixels.dtype == torch.uint8
    return pixels.double(), log


def test_the_middle_is_cut_out(tmp_path):
    image = Image.new("RGB", (60, 20), RED)
    image.paste(BLUE, (20, 0, 40, 20))
    image.save(tmp_path / "wide.png")
    pixels, log = read(tmp_path / "wide.png")
    assert tuple(pixels[:, 4, 4].int().tolist()) == BLUE
    assert pixels[0, :, 0].max() < 50  # of red no more than the edge blurs in
    assert log[0] == "PNG, 60x20 pixels"


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA"])
def test_every_mode_becomes_colour_or_grey(mode, tmp_path):
    grey = Image.new("L", (9, 9), 255).convert(mode)
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    grey.save(tmp_path / f"a.{suffix}")
    try:
        Image.open(tmp_path / f"a.{suffix}").load()
    except OSError:  # below 13, of a TIFF in YCbCr
        pytest.skip("this Pillow cannot read what it has written")
    for channels in (1, 3):
        pixels, _ = read(tmp_path / f"a.{suffix}", channels)
        assert (pixels == 255).all()


def test_transparent_parts_lie_on_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (*RED, 0))
    image.paste((*BLUE, 255), (0, 0, 4, 8))
    image.save(tmp_path / "alpha.png")
    pixels, log = read(tmp_path / "alpha.png")
    assert tuple(pixels[:, 0, 0].int().tolist()) == BLUE
    assert (pixels[:, :, 7] == 255).all()
    assert "transparent parts laid on white" in log
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    palette.save(tmp_path / "hole.gif", transparency=0)
    assert (read(tmp_path / "hole.gif")[0] == 255).all()


@pytest.mark.parametrize(
    ("tag", "red"), [(1, "left"), (3, "right"), (6, "top")]
)
def test_exif_says_which_way_is_up(tag, red, tmp_path):
    image = Image.new("RGB", (32, 32), RED)
    image.paste(BLUE, (16, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = tag
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    pixels, log = read(tmp_path / "turned.jpg")
    sides = {
        "left": pixels[0, 4, 0],
        "right": pixels[0, 4, 7],
        "top": pixels[0, 0, 4],
    }
    assert sides[red] > 200
    assert ("turned as its EXIF data say" in log) == (tag != 1)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    path = tmp_path / "two.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    pixels, log = read(path)
    assert pixels[0].mean() > 200
    assert "first of 2 frames taken" in log


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().reshape(8, 8)
    expected = torch.from_numpy(np.round(ramp / 257))[None]
    for name, kind in (("a.png", np.uint16), ("a.tif", np.uint16)):
        Image.fromarray(ramp.astype(kind)).save(tmp_path / name)
        pixels, log = read(tmp_path / name, 1)
        assert_close(pixels, expected, rtol=0, atol=0)
        assert any("8 bits" in line for line in log)
    floats = Image.fromarray((ramp / 65535).astype(np.float32))
    floats.save(tmp_path / "float.tif")
    assert_close(read(tmp_path / "float.tif", 1)[0], expected, rtol=0, atol=1)


def test_floats_that_are_no_picture_are_refused(tmp_path):
    for value in (np.nan, -1.0, 7.0):
        values = np.full((4, 4), value, np.float32)
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(BrokenPictureError, match="expected 0 to 1"):
            read(tmp_path / "a.tif")


def test_a_picture_of_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "dot.png")
    pixels, _ = read(tmp_path / "dot.png")
    assert tuple(pixels[:, 3, 3].int().tolist()) == RED


# --- what cannot be read ---------------------------------------------------


def png_that_claims(width, height):
    """A PNG of a few bytes whose header says how large it is."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", check)
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_a_huge_picture_is_refused_before_it_is_decoded(
    side, run, weights, tmp_path, monkeypatch
):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(side, side))
    code, out, err, left = run(path, "--weights", weights())
    assert code == 2
    assert "too large: at most 100,000,000 pixels" in err
    assert (out, left) == ("", [])
    assert err.count("\n") == 1


def damaged_files():
    image = Image.effect_noise((64, 64), 50).convert("RGB")
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        stream = io.BytesIO()
        image.save(stream, kind)
        yield f"cut {kind}", stream.getvalue()[: len(stream.getvalue()) // 2]
    yield "empty", b""
    yield "text", b"This is no picture."
    yield "lying PNG", png_that_claims(64, 64)
    yield "EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"


@pytest.mark.parametrize(
    "content", [pytest.param(c, id=name) for name, c in damaged_files()]
)
def test_a_broken_file_leaves_nothing(content, run, weights, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    code, out, err, left = run(path, "--weights", weights(), "--json")
    assert code == 1
    assert f"{path} is damaged or no picture" in err
    assert (out, left) == ("", [])


def test_no_such_picture_weights_or_place(run, weights, photo, tmp_path):
    file = weights()
    code, _, err, _ = run(tmp_path / "none.png", "--weights", file)
    assert (code, "no picture at" in err) == (2, True)
    code, _, err, _ = run(tmp_path, "--weights", file)
    assert (code, "no picture at" in err) == (2, True)
    code, _, err, _ = run(photo, "--weights", "vit-x")
    assert (code, "neither a file nor a known name" in err) == (2, True)
    (tmp_path / "small.safetensors").write_bytes(b"\0" * 100)
    code, _, err, left = run(photo, "--weights", file)
    assert (code, left) == (1, [])
    with pytest.raises(ValueError, match="no picture at"):
        read_picture(tmp_path, (8, 8), 3)


def test_a_folder_with_something_in_it_is_left_alone(
    run, weights, photo, tmp_path
):
    out = tmp_path / "results" / "out"
    out.mkdir(parents=True)
    file = weights()
    assert run(photo, "--weights", file)[0] == 0  # it was empty
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    code, _, err, _ = run(photo, "--weights", file)
    assert (code, "is no empty folder" in err) == (2, True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_full_disk_leaves_nothing(run, weights, photo, monkeypatch):
    saved, save = [], plot.save

    def fail_third(figure, path):
        saved.append(path)
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        save(figure, path)

    monkeypatch.setattr(plot, "save", fail_third)
    code, _, err, left = run(photo, "--weights", weights())
    assert (code, left) == (1, [])
    assert "No space left" in err


def test_stopped_it_leaves_nothing(run, weights, photo, monkeypatch):
    def stop(figure, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(plot, "save", stop)
    code, _, _, left = run(photo, "--weights", weights())
    assert (code, left) == (130, [])


def test_the_books_own_model(run, photo, drafts):
    code, out, _, _ = run(photo, "--weights", "book", "--json")
    assert code == 0
    assert json.loads(out)["img_size"] == [28, 28]


def test_formats_that_start_programs_are_not_read():
    assert not {"EPS", "PDF", "WMF"} & set(_picture.FORMATS)
