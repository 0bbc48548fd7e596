"""The curves of a training, drawn."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosig_cli.core.artifacts import atomic_path

TRIVIAL = {"zero": "predict zero", "interpolation": "linear interpolation"}


def draw_history(history: Mapping[str, list[float]], path: Path) -> None:
    """Draw every figure of `history` over epochs, training and validation, into a PNG at `path`."""
    both = [name.partition("_")[2] for name in history if name.startswith(("train_", "val_"))]
    names = [name for name in dict.fromkeys(both) if name not in TRIVIAL]
    figure = Figure(figsize=(4.2 * (len(names) + 1), 3.4), layout="constrained")
    axes = figure.subplots(1, len(names) + 1)
    epochs = history["epoch"]
    for axis, name in zip(axes, names, strict=False):
        for split, color in (("train", "tab:blue"), ("val", "tab:orange")):
            if f"{split}_{name}" in history:
                axis.plot(epochs, history[f"{split}_{name}"], ".-", color=color, label=split)
        if name == "msm":
            _draw_trivial(axis, history)
        axis.set(title=name, xlabel="epoch")
        axis.legend(frameon=False, fontsize="small")
    axes[-1].plot(epochs, history["lr"], ".-", color="tab:gray")
    axes[-1].set(title="learning rate", xlabel="epoch")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_trivial(axis: Axes, history: Mapping[str, list[float]]) -> None:
    for name, label in TRIVIAL.items():
        values = history.get(f"val_{name}")
        if values:
            axis.axhline(values[-1], linestyle="--", color="tab:gray", alpha=0.7)
            axis.annotate(label, (1, values[-1]), fontsize="x-small", va="bottom")
