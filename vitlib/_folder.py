"""A folder of a person's own images, one subfolder a class."""

from pathlib import Path

import torch

from vitlib._checks import check_positive, pair
from vitlib._dataset import ImageDataset
from vitlib._picture import MODES, BrokenPictureError, read_picture

SUFFIXES = {
    ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"
}  # fmt: skip
SHOWN = 5  # file names in a message


def image_folder(
    path: str | Path,
    size: int | tuple[int, int],
    channels: int = 3,
    least: int = 10,
) -> ImageDataset:
    """Read images of any size from a folder with one subfolder a class.

    Chapter 17. Each picture is resized to cover the size, and its middle
    cut out. Hidden files and folders, and files of other kinds, are passed
    over.

    Args:
        path: of the folder; the names of its subfolders are the classes.
        size: H = W in pixels, or (H, W).
        channels: 1 for grey, 3 for colour.
        least: how many images a class must have.

    Returns:
        The images by class, in the order of their names.

    Raises:
        ValueError: if folders or images are missing, a class has too few,
            or files are damaged; names them.
    """
    height, width = pair(size, "size")
    check_positive(height=height, width=width, least=least)
    if channels not in MODES:
        raise ValueError(f"channels must be 1 or 3; got {channels!r}")
    files = _files(Path(path).expanduser(), least)
    images, broken = [], []
    for file in (file for found in files.values() for file in found):
        try:
            if not file.is_file():  # a broken link, or a pipe
                raise BrokenPictureError
            images.append(read_picture(file, (height, width), channels)[0])
        except BrokenPictureError:
            broken.append(str(file))
    if broken:
        raise ValueError(
            f"{_list(broken)}: damaged or no picture; mend or remove what "
            "cannot be opened"
        )
    counts = torch.tensor([len(found) for found in files.values()])
    labels = torch.arange(len(files)).repeat_interleave(counts)
    return ImageDataset(torch.stack(images), labels, tuple(files))


def _files(folder: Path, least: int) -> dict[str, list[Path]]:
    """List the pictures of each class, and check that there are enough."""
    if not folder.is_dir():
        raise ValueError(f"no folder at {folder}")
    files = {
        place.name: sorted(
            file
            for file in place.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not file.is_dir()
            and not any(
                part.startswith(".") for part in file.relative_to(place).parts
            )
        )
        for place in sorted(folder.iterdir())
        if place.is_dir() and not place.name.startswith(".")
    }
    if len(files) < 2:
        raise ValueError(
            f"{folder} needs two or more subfolders, one a class; it has "
            f"{_list(list(files)) if files else 'none'}"
        )
    few = [
        f"{name} has {len(found)}"
        for name, found in files.items()
        if len(found) < least
    ]
    if few:
        kinds = " ".join(sorted(SUFFIXES))
        raise ValueError(
            f"each class needs {least} or more images ({kinds}); {_list(few)}"
        )
    return files


def _list(names: list[str]) -> str:
    """Join names, and count those beyond a few."""
    more = len(names) - SHOWN
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
