"""A person's own images: what is read, and what is said of bad input."""

import os

import pytest
import torch
from PIL import Image

from vitlib.data import image_folder


def paint(path, size=(40, 30), colour="red"):
    """Write one picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of two classes, of many sizes and kinds."""
    for index in range(10):
        size = (30 + 7 * index, 64 - 3 * index)
        paint(tmp_path / "reds" / f"{index}.png", size)
        paint(tmp_path / "blues" / "deep" / f"{index}.JPG", size, "blue")
    return tmp_path


def test_sizes_are_brought_to_one_and_subfolders_are_classes(folder):
    found = image_folder(folder, (12, 16))
    assert found.classes == ("blues", "reds")
    assert found.images.shape == (20, 3, 12, 16)
    assert found.labels.tolist() == [0] * 10 + [1] * 10
    colour = found.images.float().mean(dim=(2, 3))
    assert (colour[:10, 2] > 240).all()
    assert (colour[10:, 0] > 240).all()
    assert (colour[10:, 2] < 10).all()
    assert image_folder(str(folder), 8, 1).images.shape == (20, 1, 8, 8)


def test_other_files_are_passed_over(folder):
    expected = image_folder(folder, 8)
    (folder / "Thumbs.db").write_text("x")
    (folder / "reds" / "notes.txt").write_text("x")
    (folder / "reds" / "._0.png").write_text("x")
    (folder / ".cache").mkdir()
    paint(folder / "reds" / ".ipynb_checkpoints" / "0-checkpoint.png")
    paint(folder / "reds" / "deep" / ".trash" / "new" / "0.png")
    (folder / "reds" / "dir.png").mkdir()
    found = image_folder(folder, 8)
    assert found.classes == expected.classes
    assert torch.equal(found.images, expected.images)


def no_folder(folder):
    return folder / "nowhere", r"no folder at .*nowhere$"


def empty(folder):
    (folder / "new").mkdir()
    return folder / "new", r"needs two or more subfolders.* it has none$"


def one_class(folder):
    (folder / "blues").rename(folder / "reds" / "blues")
    return folder, r"needs two or more subfolders, .* it has reds$"


def images_outside(folder):
    return folder / "blues", r"subfolders, one a class; it has deep$"


def too_few(folder):
    (folder / "reds" / "3.png").unlink()
    return folder, r"each class needs 10 or more images \(.*\); reds has 9$"


def empty_class(folder):
    (folder / "greens").mkdir()
    (folder / "greens" / "photo.heic").write_text("x")
    return folder, r"\.webp\); greens has 0$"


def broken(folder):
    for name in "12":
        (folder / "reds" / f"{name}.png").write_bytes(b"no picture at all")
    return folder, r"1\.png, .*2\.png: damaged or no picture; mend or remove"


def cut_short(folder):
    file = folder / "blues" / "deep" / "4.JPG"
    file.write_bytes(file.read_bytes()[:300])
    return folder, r"4\.JPG: damaged or no picture"


def no_files(folder):
    (folder / "reds" / "away.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "reds" / "pipe.png")
    (folder / "reds" / "9.png").write_text("")
    return folder, r"reds/9\.png, .*away\.png, .*pipe\.png: damaged"


def many_broken(folder):
    for file in (folder / "reds").iterdir():
        file.write_text("")
    return folder, r"0\.png, .*4\.png and 5 more: damaged"


@pytest.mark.parametrize(
    "spoil",
    [
        no_folder, empty, one_class, images_outside, too_few, empty_class,
        broken, cut_short, no_files, many_broken,
    ],
)  # fmt: skip
def test_bad_input_is_named(folder, spoil):
    place, words = spoil(folder)
    with pytest.raises(ValueError, match=words):
        image_folder(place, 8)


def test_bad_sizes_are_named(folder):
    with pytest.raises(ValueError, match="height"):
        image_folder(folder, 0)
    with pytest.raises(ValueError, match="channels"):
        image_folder(folder, 8, channels=2)
    assert len(image_folder(folder, 8, least=1)) == 20
