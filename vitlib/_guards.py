"""What a run is checked for before its first step, and when memory ends."""

from vitlib._dataset import ImageDataset
from vitlib.recipe import TrainConfig


def check_run(train: ImageDataset, config: TrainConfig, world: int) -> None:
    """Refuse data and recipe that cannot train together.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    seen = train.labels.unique()
    if len(seen) < 2:
        raise ValueError(
            "training images must be of two classes at least; all "
            f"{len(train)} have label {int(seen)}"
        )
    if config.batch_size > len(train):
        raise ValueError(
            "batch_size must not exceed the number of training images; got "
            f"batch_size={config.batch_size}, {len(train)} images"
        )
    if config.batch_size % (world * config.accumulate):
        raise ValueError(
            "processes times accumulate must divide batch_size; got "
            f"{world} * {config.accumulate}, batch_size={config.batch_size}"
        )
    channels = train.images.shape[1]
    if not len(config.mean) == len(config.std) == channels:
        raise ValueError(
            f"mean and std must hold {channels} values, one a channel; got "
            f"mean={config.mean}, std={config.std}"
        )
