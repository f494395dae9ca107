"""Chapters 8 to 15: what the command line takes."""

import argparse
import sys

from vitlib._options import Parser, add_fields, attribute_texts
from vitlib.config import VARIANTS, ViTConfig
from vitlib.pretrained.registry import REGISTRY
from vitlib.recipe import TrainConfig

SETS = ("sample", "fashion-mnist", "cifar10")
EPILOG = """\
exit codes:
  0    done
  1    the run failed: a loss that is not finite, no memory left, a download
       that did not arrive, a damaged file, a full disk
  2    wrong usage or bad input: the message names the value and the rule
  130  stopped by SIGINT (Ctrl-C); the same command resumes the run
  143  stopped by SIGTERM; the same command resumes the run
  torchrun has its own code for all but 0: 1.

Messages of failure go to standard error. With --json standard output holds
one JSON object if the exit code is 0 and nothing if it is not; progress goes
to standard error.

examples:
  python -m vitlib train --epochs 3
  python -m vitlib download fashion-mnist
  python -m vitlib download dinov2-type-s14
  python -m vitlib train --data fashion-mnist --flip --crop 1 --folder runs/a
  torchrun --nproc_per_node 2 -m vitlib train --data fashion-mnist
  python -m vitlib evaluate runs/a --data fashion-mnist
  python -m vitlib inspect cat.jpg --folder cat
"""


def add_source(parser: Parser) -> None:
    """Where the images come from."""
    parser.add_argument(
        "--data",
        choices=SETS,
        default="sample",
        help="the package's sample of Fashion-MNIST (10,000 training and "
        "2,000 test images), all of it (60,000 and 10,000), or CIFAR-10 "
        "(50,000 and 10,000) (default: sample)",
    )
    parser.add_argument(
        "--download", action="store_true", help="fetch files that are missing"
    )
    add_places(parser)


def add_places(parser: Parser) -> None:
    """Folder and server of a data set."""
    parser.add_argument(
        "--root",
        metavar="FOLDER",
        help="folder with the data set's files (default: the system's copy "
        "of Fashion-MNIST, then $VITLIB_CACHE, then ~/.cache/vitlib)",
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        help="server to download from (default: the authors')",
    )


def add_json(parser: Parser) -> None:
    """For programs."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object to standard output, and nothing else",
    )


def add_train(parser: Parser) -> None:
    """Every option of train."""
    add_source(parser)
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="take this many training images, each class by its share "
        "(default: all)",
    )
    parser.add_argument(
        "--held-out",
        type=int,
        metavar="N",
        help="training images, each class by its share, to evaluate on "
        "instead; 0 trains on all of them and evaluates on the test images, "
        "once, at the end (default: a tenth, at most 5000)",
    )
    parser.add_argument(
        "--model",
        choices=VARIANTS,
        default="Book/4",
        help="where the model's fields start from (default: Book/4)",
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        help="of checkpoints, log.jsonl and model.safetensors; a run that is "
        "in it is taken up again (default: runs/DATA-MODEL)",
    )
    add_json(parser)
    add_fields(parser, TrainConfig, "recipe (vitlib.train.TrainConfig)")
    title = "model (vitlib.ViTConfig)"
    add_fields(parser, ViTConfig, title, default="--model's")


def add_evaluate(parser: Parser) -> None:
    """Every option of evaluate."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="model.safetensors, the folder of a run, or `book` for the "
        "weights that the package carries",
    )
    add_source(parser)
    device = attribute_texts(TrainConfig)["device"]
    text = f"{device} (default: auto)"
    parser.add_argument("--device", metavar="NAME", default="auto", help=text)
    add_json(parser)


def add_download(parser: Parser) -> None:
    """Every option of download."""
    parser.add_argument(
        "data",
        choices=(*SETS[1:], *REGISTRY),
        metavar="NAME",
        help=f"a data set ({', '.join(SETS[1:])}) or pretrained weights "
        f"({', '.join(REGISTRY)})",
    )
    add_places(parser)
    add_json(parser)


def add_inspect(parser: Parser) -> None:
    """Every option of inspect."""
    parser.add_argument("image", metavar="IMAGE", help="a picture's file")
    parser.add_argument(
        "--weights",
        metavar="NAME",
        default="dinov2-type-s14",
        help=f"book, {', '.join(REGISTRY)}, or a file (default: "
        "dinov2-type-s14)",
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        help="of the figures and inspect.json; must be new or empty "
        "(default: inspect-IMAGE)",
    )
    parser.add_argument(
        "--img-size",
        type=int,
        metavar="N",
        help="side in pixels of what the model sees (default: the model's "
        "own); the positions are resized",
    )
    add_json(parser)


def parse(argv: list[str] | None, version: str) -> argparse.Namespace:
    """Read the command line; leaves with exit code 2 where it is wrong."""
    raw = argparse.RawDescriptionHelpFormatter
    options = {"formatter_class": raw, "epilog": EPILOG}
    parser = Parser(prog="python -m vitlib", allow_abbrev=False, **options)
    parser.description = "Train, judge and inspect Vision Transformers."
    parser.add_argument(
        "--version", action="version", version=f"vitlib {version}"
    )
    commands = parser.add_subparsers(dest="command", title="commands")
    for name, add, text in (
        ("train", add_train, "train a model, or take up a stopped run"),
        ("evaluate", add_evaluate, "count what a model gets right"),
        ("download", add_download, "fetch data or weights, and check them"),
        ("inspect", add_inspect, "draw what a model sees in a picture"),
    ):
        short = f"python -m vitlib {name} [options]"
        add(
            commands.add_parser(
                name, help=text, usage=short, allow_abbrev=False, **options
            )
        )
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        sys.exit(0)
    return args
