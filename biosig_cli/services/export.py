"""`biosig export`: a model as files that other programs read, tried on real windows first."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from biosig_cli.core.artifacts import FORMAT, atomic_folder, provenance, write_json
from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.remote import StorePath
from biosig_cli.engine.checkpoint import find_checkpoint
from biosig_cli.engine.plain_files import FACTS, WEIGHTS, write_plain
from biosig_cli.services.evaluate_models import Candidate, open_candidate
from biosig_cli.services.export_hf import CARD as HF_CARD
from biosig_cli.services.export_hf import hf_config, hf_header
from biosig_cli.services.export_int8 import Int8, make_int8
from biosig_cli.services.export_model import Exported, describe, summary
from biosig_cli.services.export_onnx import (
    Floats,
    ask_torch,
    compare,
    need_onnx,
    open_onnx,
    timed,
    write_onnx,
)
from biosig_cli.services.export_windows import some_windows
from biosig_cli.services.given_windows import Given, GivenConfig
from biosig_cli.services.model_card import MODEL_CARD, write_model_card

ONNX, INT8 = "model.onnx", "model.int8.onnx"
METADATA = "biosig"
"""Under which an ONNX file holds what `biosig.json` says, as JSON."""


class ExportConfig(GivenConfig):
    """Settings of `biosig export`."""

    inputs: tuple[StorePath, ...] = ()
    """Recordings or windows that the model is tried on; those of its training if not given."""
    checkpoint: Path = Path("artifacts/pretrain")
    """A run, or one of its checkpoints."""
    format: Literal["onnx", "safetensors", "hf"] = "onnx"
    """`onnx` for other runtimes; `safetensors`: weights and a JSON; `hf`: a Hugging Face folder."""
    output: Path = Path("artifacts/exported")
    """The folder that is written."""
    int8: bool = False
    """Also write an ONNX file with int8 weights, and say what that costs."""


@dataclass(frozen=True)
class ExportResult:
    """The folder, and what its `biosig.json` says."""

    folder: Path
    facts: dict[str, Any]


def export(config: ExportConfig, reporter: Reporter) -> ExportResult:
    """Write a model for other programs, once it says of real windows what torch says.

    Raises:
        CheckpointError: If it can't be read, can't be written in that form, or says something
            else there; nothing is left then.
        ConfigError: If the folder holds something else, or a package is missing.
        DataError: If there is not one window to try it on, or the folder can't be written.
    """
    if config.int8 and config.format != "onnx":
        raise ConfigError("--int8 is of --format onnx", hint="leave it out, or export ONNX")
    if config.format == "onnx":
        need_onnx()
    check_output(config.output)
    file = find_checkpoint(config.checkpoint)
    candidate = open_candidate(file, file.resolve().parent.name)
    reporter.fact("model", file, summary(candidate))
    windows, given = some_windows(config, candidate)
    tried = f"{len(windows)} windows of {', '.join(dict.fromkeys(each.name for each in given))}"
    reporter.fact("tried on", tried)
    with atomic_folder(config.output) as folder:
        if config.format == "onnx":
            asked = given if config.inputs else []
            facts = export_onnx(config, candidate, windows, asked, folder, reporter)
        else:
            facts = export_plain(config, candidate, windows, folder, reporter)
        names = sorted(path.name for path in folder.iterdir())
    reporter.fact("written", config.output, ", ".join(names))
    return ExportResult(config.output, facts)


def export_onnx(
    config: ExportConfig,
    candidate: Candidate,
    windows: Floats,
    given: list[Given],
    folder: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write ONNX files and what is known of them into `folder`."""
    model = Exported(candidate).eval()
    facts = {"format": FORMAT, **provenance("torch", "onnx", "onnxruntime"), **describe(candidate)}
    metadata = {METADATA: _text(facts)}
    write_onnx(model, windows, folder / ONNX, metadata)
    n_threads = torch.get_num_threads()
    session = open_onnx(folder / ONNX, model.outputs, n_threads)
    farthest = compare(model, session, windows)
    said = ", ".join(f"{name} {value:.1e}" for name, value in farthest.items())
    reporter.fact("checked", f"farthest from torch: {said}", f"on {len(windows)} windows")
    times = {
        "torch": timed(lambda some: ask_torch(model, some), windows),
        "onnxruntime": timed(session.run, windows),
    }
    facts["checked"] = {"n_windows": len(windows), "largest_difference": farthest}
    facts["ms_per_window"] = times | {"batch": len(windows), "threads": n_threads}
    if config.int8:
        made = make_int8(candidate, model, session, folder / INT8, windows, given, metadata)
        times["onnxruntime, int8"] = made.ms_per_window
        facts["int8"] = made.facts
        say_int8(made, reporter)
    sizes = {"onnxruntime": ONNX, "onnxruntime, int8": INT8}
    rows = [
        (name, f"{ms:.3f}", _size(folder / sizes[name]) if name in sizes else "")
        for name, ms in times.items()
    ]
    title = f"{len(windows)} windows at a time, {n_threads} threads of the processor"
    reporter.table(title, ("runs in", "ms a window", "file"), rows)
    write_json(folder / FACTS, facts)
    write_model_card(candidate.path, folder / MODEL_CARD)
    return facts


def export_plain(
    config: ExportConfig, candidate: Candidate, windows: Floats, folder: Path, reporter: Reporter
) -> dict[str, Any]:
    """Write weights and what it takes to build the model, read them again and compare."""
    about = {**provenance("torch", "safetensors"), **describe(candidate)}
    write_plain(folder, candidate.content, about)
    again = open_candidate(folder / WEIGHTS, candidate.name)
    expected, found = (ask_torch(Exported(each).eval(), windows) for each in (candidate, again))
    if not all(np.array_equal(expected[name], found[name]) for name in expected):
        raise CheckpointError(
            f"{WEIGHTS}, read again, says something else than {candidate.path}; it is not kept",
            hint="report the model's settings",
        )
    reporter.fact("checked", f"read again, equal to the bit on {len(windows)} windows")
    if config.format == "hf":
        write_json(folder / "config.json", hf_config(candidate))
        write_model_card(candidate.path, folder / HF_CARD, head=hf_header(candidate))
    else:
        write_model_card(candidate.path, folder / MODEL_CARD)
    return about


def say_int8(made: Int8, reporter: Reporter) -> None:
    """Say how int8 was made and what it costs."""
    reporter.fact("int8", made.facts["how"])
    differences = made.facts["difference"].items()
    rows = [
        (name, f"{each['largest']:.2e}", f"{100 * each['relative']:.2f} %")
        for name, each in differences
    ]
    reporter.table("int8 beside torch", ("output", "farthest", "of its spread"), rows)
    if made.facts["figures"] is None:
        reporter.warn(f"what int8 costs in the task is not known: {made.facts['why_no_figures']}")
        return
    rows = [
        (name, f"{each['float32']:.4f}", f"{each['int8']:.4f}")
        for name, each in made.facts["figures"].items()
    ]
    title = f"int8 on {made.facts['n_labelled']:,} windows of {made.facts['labelled']}"
    reporter.table(title, ("figure", "float32", "int8"), rows)


def check_output(folder: Path) -> None:
    """Make sure that nothing but an earlier export is written over.

    Raises:
        ConfigError: If the folder holds anything else.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / FACTS).is_file()
    ):
        raise ConfigError(
            f"{folder} is there already and holds no export", hint="give another --output FOLDER"
        )


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"
