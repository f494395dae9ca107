"""Where the data sets come from: addresses, checksums, classes, statistics.

Rank 0: tables only; imports nothing from the package.
"""

from typing import NamedTuple


class Source(NamedTuple):
    """A data set as its authors publish it.

    Attributes:
        title: its name in messages.
        classes: the name of each label, in order.
        urls: base addresses, tried in turn; each ends with a slash.
        downloads: file offered there -> SHA-256 of that file.
        files: file read by the package -> SHA-256 of its content, unpacked.
        hint: another way to come by it, for the message; may be empty.
    """

    title: str
    classes: tuple[str, ...]
    urls: tuple[str, ...]
    downloads: dict[str, str]
    files: dict[str, str]
    hint: str = ""


# Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747). The README of
# github.com/zalandoresearch/fashion-mnist gives classes, first address and an
# MD5 for each packed file; the SHA-256 of the same files stand in TensorFlow
# Datasets (url_checksums/fashion_mnist.txt). The content of Debian's
# dataset-fashion-mnist, put back behind the authors' gzip header (their file
# name and time), has both those sums, so `files` describes what they packed.
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
        "master/data/fashion/",
    ),
    downloads={
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed27"
        "1626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc"
        "97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a4"
        "84bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3c"
        "d6d1c2608764d35dfb1850b086bf8dd5",
    },
    files={
        "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f8388776"
        "8d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec29"
        "4ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe0"
        "87ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494"
        "c5af83dab82d92729df917d7dec38c34",
    },
    hint="Debian and Ubuntu have it as the package dataset-fashion-mnist; "
    "load_sample() reads the part that vitlib carries",
)

# Krizhevsky 2009, "Learning multiple layers of features from tiny images",
# the binary version: no pickle to run. The archive's SHA-256 stands in
# TensorFlow Datasets (url_checksums/cifar10.txt) and in gomlx; the authors'
# page gives MD5 c32a1d4ab5d03f1284b67883e8d87530 for the same archive. The
# sums of the six files are those torchvision-ruby checks at each load.
CIFAR10 = Source(
    title="CIFAR-10",
    classes=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    urls=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
    ),
    downloads={
        "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d6"
        "8f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
    files={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc094"
        "1787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784"
        "ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84d"
        "ac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60"
        "359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fb"
        "c7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc632"
        "6dba54da8789dab6768acf480273f65b",
    },
)


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, of pixels from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# Measured on the 60,000 training images: 0.286041 and 0.353024.
FASHION_MNIST_STATS = Statistics((0.2860,), (0.3530,))
# As commonly published for the 50,000 training images.
CIFAR10_STATS = Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
# As torchvision documents for its ImageNet models.
IMAGENET_STATS = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
