"""Chapter 8: what a run says of itself, to people and to programs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vitlib.distributed import total, wait_for_all
from vitlib.records import append_record, read_log, write_log
from vitlib.trainer import Trainer, describe

CHECK_EVERY = 20  # steps between looks at the loss: each look waits for a GPU
ADVICE = (
    "try a lower lr, a longer warm-up, clip_grad=1, or precision "
    '"float32"; see chapter 9'
)


class Log:
    """A bar for a person, a line an epoch otherwise, JSON lines always.

    Chapter 8.

    Args:
        folder: where log.jsonl goes, or None; the first process writes it.
            Lines of steps after the one the run resumes at are dropped.
        trainer: the run.
        quiet: whether to print nothing; processes but the first are.
    """

    def __init__(
        self, folder: str | Path | None, trainer: Trainer, quiet: bool
    ) -> None:
        self.trainer, self.quiet = trainer, quiet
        self.path = Path(folder) / "log.jsonl" if folder else None
        self.records = self._resume()
        self._losses: list[Tensor] = []
        self._last = "none yet"
        self._shown: dict[str, str] = {}  # beside the bar
        self._before = max(r.get("seconds", 0) for r in self.records or [{}])
        self._start = perf_counter()
        self._first_step = trainer.step
        self._bar = self._make_bar()

    def __enter__(self) -> "Log":
        """Say what will run."""
        trainer = self.trainer
        start = describe(trainer)
        self._write({"event": "start", "step": trainer.step, **start})
        self._say(
            f"{start['parameters']:,} parameters, {start['images']:,} "
            f"images, {start['steps']:,} steps on {start['device']} in "
            f"{start['precision']} ({start['why']}), "
            f"{start['processes']} process(es)"
        )
        if trainer.step:
            self._say(f"resuming after step {trainer.step:,}")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def step(self, loss: Tensor) -> None:
        """Note the loss of a step; look at it every now and then."""
        self._losses.append(loss)
        if self._bar is not None:
            self._bar.update()
        if len(self._losses) >= CHECK_EVERY:
            self.check_finite()

    def check_finite(self) -> None:
        """Stop the run if a loss since the last look was not finite.

        Raises:
            FloatingPointError: names the step and the last finite loss.
        """
        if not self._losses:
            return
        losses = total(torch.stack(self._losses)) / self.trainer.world
        losses, self._losses = losses.tolist(), []
        first = self.trainer.step - len(losses) + 1
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        for step, loss in enumerate(losses, start=first):
            if not abs(loss) < float("inf"):
                raise FloatingPointError(
                    f"the loss is {loss} at step {step} (learning rate "
                    f"{lr:.2g}); the last finite one was "
                    f"{self._last}; {ADVICE}"
                )
            self._last = f"{loss:.4g} at step {step}"
            self.trainer.loss_sum += loss
        self._show(loss=f"{losses[-1]:.3f}")

    def epoch(self, scores: Callable[[], dict[str, float]]) -> int:
        """End an epoch, evaluate where it is due; return its number."""
        self.check_finite()
        trainer = self.trainer
        epoch = trainer.step // trainer.steps_per_epoch
        train_loss = trainer.loss_sum / trainer.steps_per_epoch
        trainer.loss_sum = 0.0
        rate = self.rate()
        record = {
            "event": "epoch",
            "epoch": epoch,
            "step": trainer.step,
            "train_loss": round(train_loss, 5),
            "images_per_second": round(rate, 1),
        }
        every = trainer.config.evaluate_every
        if epoch % every == 0 or trainer.step == trainer.total_steps:
            record |= {k: round(v, 5) for k, v in scores().items()}
        record["seconds"] = self.seconds()
        self._write(record)
        left = (trainer.total_steps - trainer.step) * trainer.config.batch_size
        accuracy = record.get("accuracy")
        if accuracy is not None:
            self._show(accuracy=f"{accuracy:.2%}")
        shown = "" if accuracy is None else f"accuracy {accuracy:6.2%}  "
        self._say(
            f"epoch {epoch:3}/{trainer.config.epochs}  train loss "
            f"{train_loss:.3f}  {shown}{rate:,.0f} images/s  "
            f"{left / rate:,.0f} s left"
        )
        return epoch

    def seconds(self) -> float:
        """Time so far, that before a resume included."""
        return round(self._before + perf_counter() - self._start, 2)

    def rate(self) -> float:
        """Training images a second since the start, all processes."""
        steps = self.trainer.step - self._first_step
        seconds = perf_counter() - self._start
        return steps * self.trainer.config.batch_size / seconds

    def stopped(self, signals: list[int]) -> None:
        """Say that the run was stopped, and how to take it up again."""
        step = self.trainer.step
        number = signals[0] if signals else None
        self._write({"event": "stopped", "step": step, "signal": number})
        how = "the same call resumes" if self.path else "no folder, not saved"
        self._say(f"stopped after step {step:,}; {how}")

    def end(self) -> None:
        """Say that the run is complete."""
        step = self.trainer.step
        self._write({"event": "end", "step": step, "seconds": self.seconds()})

    def _write(self, record: dict[str, Any]) -> None:
        self.records.append(json.loads(json.dumps(record)))  # as if read
        if self.path:
            append_record(self.path, record)

    def _resume(self) -> list[dict[str, Any]]:
        """Read the log of the steps that the run has behind it."""
        if not self.path:
            return []
        records = read_log(self.path) if self.path.exists() else []
        step = self.trainer.step
        done = [r for r in records if 0 < step >= r["step"]]
        kept = [record for record in done if record["event"] != "end"]
        wait_for_all()  # then the first process changes what all have read
        if self.trainer.rank:
            self.path = None
            return kept
        write_log(self.path, kept)
        return kept

    def _make_bar(self) -> Any:
        """A progress bar where a person looks, else None."""
        colab = "google.colab" in sys.modules
        if self.quiet or not (sys.stderr.isatty() or colab):
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        steps = self.trainer.total_steps
        return tqdm(total=steps, initial=self.trainer.step, unit="step")

    def _show(self, **values: str) -> None:
        """Put values beside the bar, and leave the others there."""
        self._shown |= values
        if self._bar is not None:
            self._bar.set_postfix(self._shown)

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text)
        elif not self.quiet:
            print(text, flush=True)
