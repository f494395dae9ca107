"""A run that lasts a second, for tests that stop, kill and resume it.

    python tests/tiny_run.py FOLDER '{"epochs": 2}'           train
    python tests/tiny_run.py FOLDER '{"epochs": 2}' SEED      train, but die

With a seed, every process that trains is killed at a random moment, or
while it writes a checkpoint, and another takes over, until one ends.
"""

import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from vitlib import VisionTransformer, ViTConfig
from vitlib._tensors import tensors_of
from vitlib.checkpoint import Checkpoints
from vitlib.data import ImageDataset
from vitlib.train import TrainConfig, fit
from vitlib.trainer import Trainer

CPU = torch.device("cpu")
PLAIN = TrainConfig(
    epochs=2,
    batch_size=16,
    warmup_epochs=0.5,
    label_smoothing=0.0,
    device="cpu",
    precision="float32",
)
# Everything that draws or remembers.
FULL = replace(
    PLAIN,
    flip=True,
    crop=1,
    erasing=0.3,
    mixup=0.2,
    cutmix=1.0,
    ema=0.9,
    accumulate=2,
    save_steps=1,
)


def images(count=64, seed=0):
    """Noise in two classes, one brighter than the other."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=rng)
    pixels = torch.randint(0, 156, (count, 1, 8, 8), generator=rng)
    pixels += 100 * labels[:, None, None, None]
    return ImageDataset(pixels.to(torch.uint8), labels, ("dark", "bright"))


def model(drop_path=0.2):
    """A ViT of 5,000 parameters, always the same.

    Without the bias of the keys, which softmax ignores: its gradient is
    rounding error, and AdamW makes a step of that.
    """
    torch.manual_seed(0)
    return VisionTransformer(
        ViTConfig(
            img_size=8,
            patch_size=4,
            in_chans=1,
            num_classes=2,
            embed_dim=16,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            qkv_bias=False,
            drop_path=drop_path,
        )
    )


def train(folder, config=FULL, drop_path=0.2, **how):
    """Fit, quietly; the trained model's weights and the log."""
    vit = model(drop_path)
    how = {"quiet": True} | how
    log = fit(vit, (images(), images(33, 1)), config, folder, **how)
    return vit.state_dict(), log


def restored(folder, config=FULL, drop_path=0.2):
    """The run in a folder, at its newest whole checkpoint."""
    trainer = Trainer(model(drop_path), images(), config, CPU)
    Checkpoints(folder, trainer).restore()
    return trainer


def tensors(trainer):
    """All tensors of a run, whole, by name."""
    found = tensors_of(trainer)
    return {
        k: getattr(v, "full_tensor", v.detach)().clone()
        for k, v in found.items()
    }


def trained(folder):
    """Newest state of a run in a folder, and what it left at the end."""
    config = json.loads((folder / "config.json").read_text())
    state = tensors(restored(folder, replace(FULL, **config)))
    return state | torch.load(folder / "final.pt", weights_only=True)


def main(folder, changes):
    """Train to the end and leave the weights in a file."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(changes))
    weights, _ = train(folder, replace(FULL, **changes))
    torch.save(weights, folder / "final.pt")


def die_often(folder, changes, seed):
    """Let child after child train, and kill them; say how it went.

    Children are forked: this process has loaded PyTorch, but computed
    nothing with it. Each writes up to three checkpoints; then every other
    one is killed at a random moment, the others while they write.
    """
    rng = random.Random(seed)
    drafts = 0
    for life in range(1000):
        child = os.fork()
        if child == 0:
            try:
                main(folder, changes)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        before = newest(folder)
        saves, status = rng.randint(0, 3), None
        while status is None and newest(folder) < before + saves:
            status = ended(child)
        pause = time.monotonic() + rng.uniform(0, 0.1)
        while status is None and time.monotonic() < pause:
            status = ended(child)
        while status is None and life % 2 and not list(folder.glob("*.part")):
            status = ended(child)
        if status is None:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            drafts += any(folder.glob("step-*.part"))
        if status != signal.SIGKILL:
            print(
                json.dumps({"kills": life, "drafts": drafts, "ok": not status})
            )
            break


def newest(folder):
    """Step of the newest checkpoint, 0 without one."""
    names = [path.name for path in folder.glob("step-*[0-9]")]
    return max((int(name[5:]) for name in names), default=0)


def ended(child):
    """Exit status of a process, None while it runs."""
    time.sleep(0.002)
    done, status = os.waitpid(child, os.WNOHANG)
    return status if done else None


if __name__ == "__main__":
    place, fields = Path(sys.argv[1]), json.loads(sys.argv[2])
    if len(sys.argv) > 3:
        die_often(place, fields, int(sys.argv[3]))
    else:
        main(place, fields)
