"""`biosig submission`: both models of the EEG Foundation Challenge, to run with torch alone."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biosig_cli.core.artifacts import (
    FORMAT,
    alone_in,
    atomic_path,
    provenance,
    read_json,
    write_json,
)
from biosig_cli.core.config import Config
from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.evaluate import METRICS
from biosig_cli.services.evaluate_models import Candidate, open_candidates
from biosig_cli.signal.normalize import MAD_TO_SD
from biosig_cli.signal.spec import SignalSpec
from biosig_cli.tasks.base import Answering
from biosig_cli.tasks.challenge import SHARES, overall_score

FACTS = "submission.json"
MEMORY_GB = 20
"""Of the one GPU that the challenge scores on."""
SCRIPT = '''"""Submission to the EEG Foundation Challenge; it needs torch and its weights."""

from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass


def beside(name):
    """Return where a file of this submission is."""
    places = [Path(__file__).resolve().parent, Path("/app/input/res"), Path.cwd()]
    return next(place / name for place in places if (place / name).is_file())


class Submission:
    """What the challenge asks for: windows (B, channels, samples) in, (B, 1) out."""

    def __init__(self, SFREQ, DEVICE):
        if SFREQ != {sampling_hz:g}:
            raise ValueError(f"trained on windows at {sampling_hz:g} Hz, these are at {{SFREQ}} Hz")
        self.device = str(DEVICE)

    def _model(self, number):
        program = torch.export.load(beside(f"weights_challenge_{{number}}.pt2"))
        return move_to_device_pass(program, self.device).module()

    def get_model_challenge_1(self):
        return self._model(1)

    def get_model_challenge_2(self):
        return self._model(2)
'''


class SubmissionConfig(Config):
    """Settings of `biosig submission`."""

    challenge_1: Path = Path("artifacts/eeg_challenge1")
    """The model of reaction times: a run or a checkpoint."""
    challenge_2: Path = Path("artifacts/eeg_challenge2")
    """The model of the externalizing score."""
    output_dir: Path = Path("artifacts/eeg_submission")
    """Folder of the submission; its content is what is zipped."""


@dataclass(frozen=True)
class SubmissionResult:
    """What was written.

    Attributes:
        folder: `submission.py`, the weights, and `submission.json`, what is known of them.
        overall: 0.3 and 0.7 of the NRMSE of both; None where one was not evaluated.
    """

    folder: Path
    overall: float | None


class Submitted(nn.Module):
    """A fine-tuned model that takes windows as the challenge gives them, each by itself.

    The store has one scale per recording; the challenge gives windows of nobody knows whom, so that
    here each window has its own: the median of a channel is taken away, and all are divided by the
    median absolute deviation of channels that move.
    """

    def __init__(self, model: Answering) -> None:
        super().__init__()
        self.model = model

    def forward(self, signal: Tensor) -> Tensor:
        """Return (B, 1) answers to windows (B, C, T), in any unit."""
        away = signal - signal.median(dim=-1, keepdim=True).values
        size = away.abs()
        is_still = size.median(dim=-1, keepdim=True).values == 0
        counted = torch.where(is_still, torch.nan, size)
        scale = MAD_TO_SD * counted.flatten(1).nanmedian(dim=1).values[:, None, None]
        answer: Tensor = self.model(away / torch.nan_to_num(scale, nan=1.0))
        return answer[:, None]


def write_submission(config: SubmissionConfig, reporter: Reporter) -> SubmissionResult:
    """Write both models into a folder in the challenge's form.

    Raises:
        CheckpointError: If one of them can't be read, or is not fine-tuned.
        ConfigError: If one does not answer with a value, or they take other windows.
    """
    models = open_candidates([config.challenge_1, config.challenge_2])
    for model in models:
        check(model)
    first, second = (model.encoder.spec for model in models)
    if shape(first) != shape(second):
        raise ConfigError(
            f"{models[0].path} takes {shape(first)}, {models[1].path} {shape(second)}: the "
            "challenge gives both the same windows",
            hint="fine-tune both on windows of one recipe",
        )
    scores = [evaluated(model) for model in models]
    known = [score for score in scores if score is not None]
    overall = overall_score(*known) if len(known) == len(models) else None
    facts: dict[str, Any] = {
        "format": FORMAT,
        **provenance("torch"),
        "windows": shape(first),
        "channels": list(first.names),
        "scale": "each window by itself: median of each channel, one spread for all that move",
        "gpu_memory_limit_gb": MEMORY_GB,
        "models": [model.describe() for model in models],
        "test_nrmse": scores,
        "overall": overall,
    }
    folder = config.output_dir
    with alone_in(folder):
        for number, model in enumerate(models, start=1):
            with atomic_path(folder / f"weights_challenge_{number}.pt2") as temporary:
                export(model, temporary)
        with atomic_path(folder / "submission.py") as temporary:
            temporary.write_text(SCRIPT.format(sampling_hz=first.sampling_hz), "utf-8")
        write_json(folder / FACTS, facts)
    conclude(folder, scores, overall, reporter)
    return SubmissionResult(folder, overall)


def check(model: Candidate) -> None:
    """Make sure that a model answers with a value.

    Raises:
        CheckpointError: If it is not fine-tuned.
        ConfigError: If it tells classes apart.
    """
    if model.head is None or model.task is None:
        raise CheckpointError(
            f"{model.path} is a pretrained encoder: it answers nothing yet",
            hint="biosig finetune --config eeg_challenge1 --pretrained RUN",
        )
    if model.task.kind != "regression":
        raise ConfigError(
            f"{model.path} tells classes of {model.task.label} apart; the challenge asks for values"
        )


def shape(spec: SignalSpec) -> str:
    """Return what windows are, in words."""
    return f"{spec.n_channels} channels x {spec.n_samples} samples at {spec.sampling_hz:g} Hz"


def export(model: Candidate, path: Path) -> None:
    """Write a model with its weights, so that torch alone runs it on any number of windows."""
    assert model.head is not None
    assert model.task is not None
    whole = Submitted(Answering(model.encoder, model.head, model.task)).eval()
    spec = model.encoder.spec
    example = torch.zeros(2, spec.n_channels, spec.n_samples)
    sizes = ({0: torch.export.Dim("n_windows", min=1, max=65536)},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Once before, so that what an encoder remembers of a montage is not traced.
        whole(example)
        torch.export.save(torch.export.export(whole, (example,), dynamic_shapes=sizes), path)


def evaluated(model: Candidate) -> float | None:
    """Return the NRMSE on the test split that `evaluate` wrote beside a model; None without."""
    file = model.folder / METRICS
    found = read_json(file) if file.is_file() else {}
    mine = [each for each in found.get("answers", ()) if each["name"] == model.name]
    if not mine or found["data"]["split"] != "test":
        return None
    value: float | None = mine[0]["levels"][found["task"]["level"]]["nrmse"]["value"]
    return value


def conclude(
    folder: Path, scores: list[float | None], overall: float | None, reporter: Reporter
) -> None:
    """Say what both score, each and together, and where the folder is."""
    rows = [
        (f"challenge {number}", "not evaluated" if score is None else f"{score:.4f}", f"{share:g}")
        for number, (score, share) in enumerate(zip(scores, SHARES, strict=True), start=1)
    ]
    together = "not known" if overall is None else f"{overall:.4f}"
    rows.append(("overall", together, ""))
    reporter.table("NRMSE on test people; the mean gets 1", ("challenge", "NRMSE", "counts"), rows)
    if overall is None:
        reporter.warn(
            "biosig evaluate --checkpoint RUN writes what a model scores on its test split"
        )
    reporter.warn(
        "the challenge gives windows, not recordings: each is scaled by itself here, and is not "
        "filtered again; judge that before you submit"
    )
    limit = f"the challenge scores on one GPU of {MEMORY_GB} GB"
    reporter.fact("written", folder, f"submission.py and weights, needs torch alone; {limit}")
