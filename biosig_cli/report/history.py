"""The curves of a training, drawn."""

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosig_cli.core.artifacts import atomic_path

TRIVIAL = {
    "zero": "predict zero",
    "interpolation": "linear interpolation",
    "low_pass": "slowest waves",
    "rhythm_even": "every rate alike",
    "rhythm_floor": "lowest possible",
    "spline": "spherical spline",
    "ridge": "ridge on training covariance",
    "auxiliary_mean": "average person",
    "contrastive_even": "all windows alike",
    "retrieval_chance": "by chance",
    "retrieval_new_chance": "by chance",
    "retrieval_state_chance": "by chance",
    "movie_isc_none": "no correlation",
    "spectrum_mean": "mean spectrum of training",
    "cross_entropy_frequent": "frequencies of codes",
    "cross_entropy_chance": "every code alike",
    "accuracy_placed": "by electrode and time",
    "accuracy_frequent": "most frequent code",
    "accuracy_chance": "by chance",
}
"""Answers that need no model, drawn as lines beside those of the model."""
OF_FIGURE = {
    "msm": ("zero", "interpolation"),
    "mse": ("zero", "low_pass", "spline", "ridge"),
    "auxiliary": ("auxiliary_mean",),
    "contrastive": ("contrastive_even",),
    "rhythm": ("rhythm_even", "rhythm_floor"),
    "retrieval": ("retrieval_chance",),
    "retrieval_new": ("retrieval_new_chance",),
    "retrieval_state": ("retrieval_state_chance",),
    "movie_isc": ("movie_isc_none",),
    "spectrum": ("spectrum_mean",),
    "cross_entropy": ("cross_entropy_frequent", "cross_entropy_chance"),
    "accuracy": ("accuracy_placed", "accuracy_frequent", "accuracy_chance"),
}
N_COLUMNS = 4


def draw_history(history: Mapping[str, list[float]], path: Path) -> None:
    """Draw every figure of `history` over epochs, training and validation, into a PNG at `path`."""
    both = [name.partition("_")[2] for name in history if name.startswith(("train_", "val_"))]
    names = [name for name in dict.fromkeys(both) if name not in TRIVIAL]
    n_columns = min(N_COLUMNS, len(names) + 1)
    n_rows = math.ceil((len(names) + 1) / n_columns)
    figure = Figure(figsize=(4.2 * n_columns, 3.4 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    epochs = history["epoch"]
    for axis, name in zip(axes, names, strict=False):
        for split, color in (("train", "tab:blue"), ("val", "tab:orange")):
            if f"{split}_{name}" in history:
                known = _known(epochs, history[f"{split}_{name}"])
                axis.plot(*known, ".-", color=color, label=split)
        _draw_trivial(axis, name, history)
        axis.set(title=name, xlabel="epoch")
        axis.legend(frameon=False, fontsize="small")
    axes[len(names)].plot(epochs, history["lr"], ".-", color="tab:gray")
    axes[len(names)].set(title="learning rate", xlabel="epoch")
    for axis in axes[: len(names) + 1]:
        axis.grid(alpha=0.25)
        lowest, highest = axis.dataLim.intervaly
        if 0 <= lowest < highest < math.inf:
            axis.set_ylim(0, 1.08 * highest)
        axis.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axis.spines[["top", "right"]].set_visible(False)
        for epoch in _first_epochs(history)[1:]:
            axis.axvline(epoch - 0.5, color="tab:gray", linewidth=0.8)
    for axis in axes[len(names) + 1 :]:
        axis.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _first_epochs(history: Mapping[str, list[float]]) -> list[float]:
    """Return the epoch that each phase begins with."""
    phases = history.get("phase", [])
    return [history["epoch"][phases.index(number)] for number in dict.fromkeys(phases)]


def _known(epochs: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Return the epochs that have a value, such as those of a probe, and the values."""
    pairs = [pair for pair in zip(epochs, values, strict=False) if math.isfinite(pair[1])]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _draw_trivial(axis: Axes, figure: str, history: Mapping[str, list[float]]) -> None:
    for name in OF_FIGURE.get(figure, ()):
        epochs, values = _known(history["epoch"], history.get(f"val_{name}", []))
        if epochs:
            axis.plot(epochs, values, "--", color="tab:gray", alpha=0.7)
            axis.annotate(TRIVIAL[name], (epochs[0], values[-1]), fontsize="x-small", va="bottom")
