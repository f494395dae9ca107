"""Draw the sample of Fashion-MNIST that the package carries.

From the root of the repository, where the full set is installed or cached:

    python tools/make_sample.py            # writes vitlib/_data
    python tools/make_sample.py --root FOLDER --out FOLDER

Of each class it takes the images whose number, hashed together with the
seed, comes first: the draw depends on no library's random generator. The
files keep the order of the originals. Running it again gives the same bytes;
another version of zlib may pack the same content into other bytes.
"""

import argparse
import gzip
import hashlib
import json
import struct
import zlib
from pathlib import Path

from vitlib import data
from vitlib._sources import FASHION_MNIST
from vitlib.data import ImageDataset

SEED = 0
PER_CLASS = {"train": 1000, "t10k": 200}
LICENSE = """\
The images in this folder are a part of Fashion-MNIST
(https://github.com/zalandoresearch/fashion-mnist), under this licence:

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def draw(split: str, dataset: ImageDataset) -> list[int]:
    """The numbers of the images to take, in ascending order."""

    def lot(index: int) -> bytes:
        return hashlib.sha256(f"{SEED} {split} {index}".encode()).digest()

    labels = dataset.labels.tolist()
    taken: list[int] = []
    for label in range(len(dataset.classes)):
        own = [i for i, found in enumerate(labels) if found == label]
        taken += sorted(own, key=lot)[: PER_CLASS[split]]
    return sorted(taken)


def write_idx(path: Path, shape: tuple[int, ...], values: bytes) -> None:
    """Write bytes as IDX, packed without a name or a time."""
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    with (
        open(path, "wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
    ):
        packed.write(header + values)


def make_sample(root: Path | None, out: Path) -> None:
    """Draw both splits and write them, their origin and their licence.

    Raises:
        ValueError: if a training and a test image are the same.
    """
    out.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    sums: dict[str, dict[str, str]] = {}
    full = data.load_fashion_mnist(root)
    for split, dataset in zip(PER_CLASS, full, strict=True):
        part = dataset.subset(draw(split, dataset))
        pictures = {image.tobytes() for image in part.images.numpy()}
        if seen & pictures:
            raise ValueError("a training and a test image are the same")
        seen |= pictures
        size, _, height, width = part.images.shape
        contents = {
            f"{split}-images-idx3-ubyte.gz": (
                (size, height, width),
                part.images.numpy().tobytes(),
            ),
            f"{split}-labels-idx1-ubyte.gz": (
                (size,),
                bytes(part.labels.tolist()),
            ),
        }
        for name, (shape, values) in contents.items():
            write_idx(out / name, shape, values)
            packed = (out / name).read_bytes()
            sums[name] = {
                "full_content_sha256": FASHION_MNIST.files[name],
                "content_sha256": sha256(gzip.decompress(packed)),
                "file_sha256": sha256(packed),
            }
    origin = {
        "what": "a part of Fashion-MNIST (arXiv:1708.07747), drawn by "
        "tools/make_sample.py",
        "source": "https://github.com/zalandoresearch/fashion-mnist",
        "licence": "MIT, Copyright (c) 2017 Zalando SE; see LICENSE here",
        "seed": SEED,
        "images_per_class": PER_CLASS,
        "packed_with_zlib": zlib.ZLIB_RUNTIME_VERSION,
        "files": sums,
    }
    (out / "sample.json").write_text(json.dumps(origin, indent=2) + "\n")
    (out / "LICENSE").write_text(LICENSE)


def sha256(content: bytes) -> str:
    """Its SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of the full set")
    parser.add_argument("--out", type=Path, default=data.SAMPLE_FOLDER)
    options = parser.parse_args()
    make_sample(options.root, options.out)
    total = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{options.out}: {total:,} bytes")
