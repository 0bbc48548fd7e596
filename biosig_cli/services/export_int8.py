"""What a model loses when its weights become int8, measured on real windows and on labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.export_model import Exported
from biosig_cli.services.export_onnx import (
    Floats,
    Session,
    ask_torch,
    largest,
    open_onnx,
    relative,
    timed,
    write_int8,
)
from biosig_cli.services.export_windows import labelled_windows, scored
from biosig_cli.services.given_windows import Given

BATCH = 256


@dataclass(frozen=True)
class Int8:
    """A file with int8 weights, and what is known of it."""

    ms_per_window: float
    facts: dict[str, Any]


def make_int8(
    candidate: Candidate,
    model: Exported,
    whole: Session,
    path: Path,
    windows: Floats,
    given: Sequence[Given],
    metadata: Mapping[str, str],
) -> Int8:
    """Write a file with int8 weights and measure what that costs.

    Args:
        candidate: The model.
        model: What is exported of it.
        whole: The ONNX file with float32 weights.
        path: The file to write.
        windows: (N, C, T) windows that scales are taken from and outputs are compared on.
        given: What somebody gave for it, whose labels are asked first.
        metadata: What the file says of itself.
    """
    import torch

    how = write_int8(whole.path, path, windows, metadata)
    session = open_onnx(path, model.outputs, torch.get_num_threads())
    expected, found = ask_torch(model, windows), session.run(windows)
    difference = {
        name: {
            "largest": largest(expected[name], found[name]),
            "relative": relative(expected[name], found[name]),
        }
        for name in session.names
    }
    facts = {"how": how, "difference": difference} | _cost(candidate, whole, session, given)
    return Int8(timed(session.run, windows), facts)


def _cost(
    candidate: Candidate, whole: Session, small: Session, given: Sequence[Given]
) -> dict[str, Any]:
    """Return the figures of the task with float32 and int8, and why there are none."""
    store, examples, why = labelled_windows(candidate, given)
    if store is None or examples is None:
        return {"figures": None, "why_no_figures": why}
    answers: dict[str, list[Floats]] = {"float32": [], "int8": []}
    for start in range(0, len(examples), BATCH):
        signal = store.read(examples.row[start : start + BATCH]).astype(np.float32)
        for name, session in (("float32", whole), ("int8", small)):
            answers[name].append(session.run(signal)["answer"])
    figures = {
        name: scored(candidate, examples, np.concatenate(each).astype(np.float64))
        for name, each in answers.items()
    }
    together = {
        name: {"float32": value, "int8": figures["int8"][name]}
        for name, value in figures["float32"].items()
        if name != "threshold"
    }
    return {"figures": together, "n_labelled": len(examples), "labelled": str(store.path)}
