"""Every window of a record that a model can be asked about, with what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from biosig_cli.data.record import Record
from biosig_cli.data.windows import CutWindows, WindowRecipe, as_stored, cut_and_judge
from biosig_cli.signal.normalize import Floats, center_and_scale

PART = 4096
"""Windows that a model is asked about before what it says is written."""


@dataclass(frozen=True)
class FlaggedWindows:
    """N windows, whether or not a store would hold them."""

    data: NDArray[np.floating]
    """(N, C, T) as a store holds them: normalized, rounded."""
    record: NDArray[np.str_]
    subject: NDArray[np.str_]
    start_s: NDArray[np.float64]
    """(N,) when each begins, in seconds on its record's clock."""
    usable: NDArray[np.bool_]
    """(N,) whether a store would hold it: no rule is broken that the recipe's gate asks."""
    flags: NDArray[np.str_]
    """(N,) the rules that each one breaks, joined by `; `; empty for none."""
    n_lacking: int = 0
    """Windows that are not among the N: a channel lacks samples, or there is no room for them."""

    def __len__(self) -> int:
        return len(self.data)

    def noting(self, what: str) -> "FlaggedWindows":
        """Return them with one more thing said of each in its flags."""
        flags = [f"{each}; {what}" if each else what for each in self.flags.tolist()]
        return replace(self, flags=np.array(flags, np.str_))

    def parts(self) -> Iterator["FlaggedWindows"]:
        """Yield some thousand windows at a time, each once; `n_lacking` is of the whole."""
        for start in range(0, len(self), PART):
            rows = slice(start, start + PART)
            yield FlaggedWindows(
                self.data[rows],
                self.record[rows],
                self.subject[rows],
                self.start_s[rows],
                self.usable[rows],
                self.flags[rows],
            )


def flag_record(record: Record, recipe: WindowRecipe) -> FlaggedWindows:
    """Cut a record into windows and keep the poor ones, too, with what is wrong with them.

    Those that are `usable` are, to the last bit, the ones that `cut_record` keeps. Only windows in
    which a channel lacks samples are left out: there is nothing to be asked about.

    Args:
        record: The recording, with every channel of the recipe; it is given up, as a day of two
            channels takes 350 MB.
        recipe: Channels, filters, length and thresholds.

    Raises:
        DataError: If a channel has no stretch as long as a window, or the channels never overlap.
        SignalError: If a rate or a filter makes no sense.
    """
    cut = cut_and_judge(record, recipe, give_up=True)
    whole = np.isfinite(cut.filtered).all(axis=(1, 2))
    filtered, usable = cut.filtered[whole], cut.verdicts.kept[whole]
    center, scale = _center_and_scale(cut, filtered, usable, recipe)
    n_windows = len(filtered)
    return FlaggedWindows(
        data=as_stored(filtered, center, scale, recipe),
        record=np.full(n_windows, record.id),
        subject=np.full(n_windows, record.subject),
        start_s=cut.start_s[whole],
        usable=usable,
        flags=joined({rule: broken[whole] for rule, broken in cut.verdicts.broken.items()}),
        n_lacking=int((~whole).sum()) + sum(cut.no_room.values()),
    )


def _center_and_scale(
    cut: CutWindows,
    filtered: NDArray[np.float32],
    usable: NDArray[np.bool_],
    recipe: WindowRecipe,
) -> tuple[Floats, Floats]:
    """Return center and scale of each window; those of a record are of its usable windows."""
    method = recipe.windows.normalization
    if cut.pooled is not None:
        center, scale = cut.pooled
    elif method == "record" and usable.any():
        center, scale = (each[0] for each in center_and_scale(filtered[usable], method))
    else:
        return center_and_scale(filtered, method)
    return np.tile(center, (len(filtered), 1)), np.tile(scale, (len(filtered), 1))


def joined(broken: dict[str, NDArray[np.bool_]]) -> NDArray[np.str_]:
    """Return the names of the rules that each of N windows breaks, in one text each."""
    rows = zip(*(each.tolist() for each in broken.values()), strict=True)
    names = ["; ".join(n for n, b in zip(broken, row, strict=True) if b) for row in rows]
    return np.array(names, np.str_)
