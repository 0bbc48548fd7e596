"""The figures of a training for TensorBoard, which is installed only where it is asked for."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.pace import TIMINGS

FOLDER = "tensorboard"


def check_board() -> None:
    """Refuse to begin a run whose figures could not be written.

    Raises:
        ConfigError: If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ConfigError(
            "--tensorboard: TensorBoard is not installed",
            hint="pip install 'biosig[tensorboard]', or leave --tensorboard out",
        )


class Board:
    """Writes what goes into `metrics.jsonl` as scalars too: `tensorboard --logdir RUN`.

    Args:
        folder: The run folder.
        step: Step at which a run is resumed; what was written of later ones is no longer shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = step + 1 if step else None
        self.writer = SummaryWriter(folder / FOLDER, purge_step=purge)

    def write(self, row: Mapping[str, float]) -> None:
        """Write the figures of a step or an epoch."""
        for name, value in row.items():
            if name not in ("step", "epoch"):
                self.writer.add_scalar(_tag(name), value, int(row["step"]))

    def close(self) -> None:
        """Write what is still held back."""
        self.writer.close()


def _tag(name: str) -> str:
    """Return where a figure stands: those of training and validation share a picture's name."""
    split, _, figure = name.partition("_")
    if split in ("train", "val"):
        return f"{figure}/{split}"
    return f"{'timing' if name in TIMINGS else 'step'}/{name}"
