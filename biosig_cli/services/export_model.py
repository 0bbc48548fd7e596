"""The model that is exported, and what there is to know of it wherever it is taken."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from biosig_cli.core.artifacts import sha256
from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.models.heads import pool
from biosig_cli.models.kinds import read_model
from biosig_cli.services.evaluate_models import Candidate

SCALES = {
    "window": "minus the mean and divided by the standard deviation of the window, per channel",
    "record": "minus the mean and divided by the spread of the recording's windows, per channel",
    "minmax": "put between 0 and 1 by the lowest and highest value of the window, per channel",
    "none": "left in their unit",
    "robust": "minus the median of the recording per channel, divided by one spread for all "
    "channels (1.4826 times the median absolute deviation)",
}
"""What each normalization does to samples, in words."""


class Exported(nn.Module):
    """Windows in; out comes what `biosig embed`, or for a fine-tuned model `predict`, says of them.

    Args:
        model: Encoder, and head and task where it has them.
    """

    def __init__(self, model: Candidate) -> None:
        super().__init__()
        self.encoder, self.head, self.task = model.encoder, model.head, model.task

    @property
    def outputs(self) -> tuple[str, str]:
        """What the outputs are called."""
        return ("tokens" if self.task is None else "answer"), "embedding"

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return (tokens, embedding), or (answer, embedding), of windows (B, C, T).

        Tokens are (B, C, P, D), embeddings (B, F), answers probabilities (B, K) or values (B,).
        """
        tokens = self.encoder(signal).tokens
        if self.head is None or self.task is None:
            return tokens, pool(tokens)
        return self.task.answers(self.head(tokens).float()), pool(tokens)


def describe(model: Candidate) -> dict[str, Any]:
    """Return what an exported model takes and gives, as `biosig.json` and the metadata say it."""
    spec = model.encoder.spec
    recipe = model.content.get("recipe")
    return {
        "model": summary(model),
        "checkpoint": {"file": model.path.name, "sha256": sha256(model.path)},
        "input": {
            "name": "signal",
            "shape": ["batch", spec.n_channels, spec.n_samples],
            "dtype": "float32",
            "channels": spec.dump()["channels"],
            "sampling_hz": spec.sampling_hz,
            "duration_s": spec.duration_s,
        },
        "outputs": _outputs(model),
        "preprocessing": None if recipe is None else steps(WindowRecipe.parse(recipe)),
        "recipe": recipe,
    }


def summary(model: Candidate) -> str:
    """Return in a few words what a model is."""
    kind = read_model(model.content["model_config"], str(model.path)).called
    if model.task is None:
        return f"{kind}, pretrained encoder"
    return f"{kind}, {model.task.kind} of {model.task.label} by {model.task.level}"


def _outputs(model: Candidate) -> dict[str, Any]:
    encoder, task = model.encoder, model.task
    n_channels = len(encoder.montage())
    embedding = {
        "shape": ["batch", 2 * n_channels * encoder.width],
        "what": "channel by channel, the mean of its tokens over time, then their spread",
    }
    if task is None:
        shape = ["batch", n_channels, encoder.n_positions, encoder.width]
        tokens = {"shape": shape, "what": "a vector for each channel and position in time"}
        return {"tokens": tokens, "embedding": embedding}
    if task.kind == "regression":
        answer: dict[str, Any] = {"shape": ["batch"], "what": task.label, "unit": task.unit}
    else:
        answer = {
            "shape": ["batch", task.n_outputs],
            "what": f"probability of each class of {task.label}",
            "classes": [task.say(number) for number in range(task.n_outputs)],
            "threshold": model.threshold,
        }
    return {"answer": answer | {"level": task.level}, "embedding": embedding}


def steps(recipe: WindowRecipe) -> list[str]:
    """Return what is done to recordings before a model sees them, step by step, in words."""
    windows = recipe.windows
    filters = [
        f"{name}: {filter_words(channel.dump().get('filter'))}"
        for name, channel in recipe.channels.items()
    ]
    return [
        "mean removed, missing samples marked",
        f"resampled by a polyphase filter to {windows.sampling_hz:g} Hz, one clock for all "
        "channels",
        "filtered forwards and backwards over the whole recording: " + "; ".join(filters),
        f"cut into windows of {windows.n_samples} samples ({windows.duration_s:g} s), one every "
        f"{windows.step_s:g} s",
        f"samples {SCALES[windows.normalization]}",
        "rounded to float16, given as float32",
    ]


def filter_words(settings: Mapping[str, Any] | None) -> str:
    """Return what a filter lets through."""
    if not settings:
        return "not filtered"
    low, high = settings.get("low_hz"), settings.get("high_hz")
    edges = " to ".join(f"{edge:g}" for edge in (low, high) if edge is not None)
    order = f", order {settings['order']}" if "order" in settings else ""
    return f"{settings.get('kind', 'filter')} {edges} Hz{order}"
