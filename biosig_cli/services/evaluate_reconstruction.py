"""A pretrained encoder by itself: what it puts together of what was hidden or left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_cli.core.artifacts import FORMAT, provenance, write_json
from biosig_cli.core.errors import CheckpointError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.remote import local_store
from biosig_cli.data.store import WindowStore
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.objectives.masked import Masked, MaskedConfig
from biosig_cli.objectives.reconstruction import Reconstruction, ReconstructionConfig
from biosig_cli.report.autoencoder_page import write_autoencoder_page
from biosig_cli.report.evaluation_material import DrawnReconstruction, Material
from biosig_cli.report.reconstruction_page import write_reconstruction_page
from biosig_cli.services.audit import check_before_scoring
from biosig_cli.services.evaluate_autoencoder import judge_autoencoder, say_drawings
from biosig_cli.services.evaluate_drawings import Values, subjects_of
from biosig_cli.services.evaluate_masked import draw_some, measure
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.task_windows import open_for_scoring
from biosig_cli.tasks.intervals import mean_with_interval

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig


def evaluate_reconstruction(
    config: "EvaluateConfig", model: Candidate, device: str, folder: Path, reporter: Reporter
) -> dict[str, Any]:
    """Score what an encoder puts together of hidden patches or of its latent, channel by channel.

    Errors are in units of the deviation of the window, of hidden patches that of its visible part.

    Raises:
        CheckpointError: If the checkpoint holds no decoder.
        LeakageError: If the encoder saw someone in the test split.
    """
    objective = open_objective(model)
    data_dir = config.data_dir or local_store(
        model.content["config"]["windows"][0]["store"], reporter
    )
    store = open_for_scoring(
        data_dir,
        config.split,
        channels=model.encoder.spec.names,
        sampling_hz=config.sampling_hz,
        known_splits=None,
        recipe=config.recipe,
        work_dir=folder,
        reporter=reporter,
    )
    if config.split in ("test", "all"):
        check_before_scoring(data_dir, {"test": store}, reporter, past=model.past, labels=())
    judged = judge(model, objective, store, data_dir, config, device)
    people = subjects_of(store)
    channels = {
        name: {
            "answers": {
                answer: {
                    metric: mean_with_interval(
                        values[:, place], people, seed=config.seed, n_resamples=config.n_resamples
                    ).plain()
                    for metric, values in each.items()
                }
                for answer, each in judged.figures.items()
            }
        }
        for place, name in enumerate(store.spec.names)
    }
    metrics = {
        "format": FORMAT,
        **provenance("torch", "numpy", "scikit-learn"),
        "command": "evaluate",
        "task": {"kind": "reconstruction"},
        "data": {
            "data_dir": str(data_dir),
            "dataset": str((store.manifest.get("source") or {}).get("kind", "")),
            "split": config.split,
            "n_windows": len(store),
            "n_records": 0,
            "n_subjects": len(store.subjects),
        },
        "models": [model.describe()],
        "notices": [],
        "channels": channels,
        **judged.more,
    }
    write_json(folder / "test_metrics.json", metrics)
    drawn = Material(reconstructions=judged.drawn)
    write = write_autoencoder_page if judged.more else write_reconstruction_page
    write(folder / "report.html", metrics, drawn=drawn)
    conclude(metrics, folder, reporter)
    return metrics


Drawing = Masked | Reconstruction
DRAWING: dict[str, type[MaskedConfig | ReconstructionConfig]] = {
    "masked": MaskedConfig,
    "reconstruction": ReconstructionConfig,
}
"""Objectives that draw windows, by name."""


@dataclass(frozen=True)
class Judged:
    """What was found of an encoder's answers.

    Attributes:
        figures: By answer and metric, (N, C).
        drawn: Windows to look at.
        more: What else there is to tell of an autoencoder.
    """

    figures: Mapping[str, Mapping[str, Values]]
    drawn: list[DrawnReconstruction]
    more: dict[str, Any]


def judge(
    model: Candidate,
    objective: Masked | Reconstruction,
    store: WindowStore,
    data_dir: Path,
    config: "EvaluateConfig",
    device: str,
) -> Judged:
    """Ask the encoder for every window, and measure its answers."""
    encoder = model.encoder.to(device)
    objective.to(device)
    if isinstance(objective, Reconstruction):
        return Judged(*judge_autoencoder(model, objective, store, data_dir, config, device))
    figures = measure(encoder, objective, store, config, device)
    drawn = draw_some(encoder, objective, store, subjects_of(store), config.seed)
    return Judged(figures, drawn, {})


def open_objective(model: Candidate) -> Masked | Reconstruction:
    """Return the objective that the encoder was pretrained with.

    Raises:
        CheckpointError: If the checkpoint holds none.
    """
    settings = model.content["config"].get("objectives") or {}
    weights = model.content.get("decoder_state_dict")
    drawing = [name for name in DRAWING if settings.get(name)]
    if not drawing or not weights:
        questions = ", ".join(name for name, question in settings.items() if question)
        why = (
            f"was asked for {questions}, which draws no windows"
            if questions
            else "holds no decoder"
        )
        raise CheckpointError(
            f"{model.path} {why}, so nothing can be reconstructed",
            hint="probe this encoder for a label: --label NAME --data-dir FOLDER"
            + ("" if questions else "; or give the run of `biosig pretrain` itself"),
        )
    asked = DRAWING[drawing[0]].parse(settings[drawing[0]])
    objective = asked.build(model.encoder)
    load_weights(objective, owned_by(drawing[0], weights), source=f"{model.path} (decoder)")
    return objective.eval()


def conclude(metrics: Mapping[str, Any], folder: Path, reporter: Reporter) -> None:
    """Show the errors beside the trivial ones; of an autoencoder also by person, and its probes."""
    data, channels = metrics["data"], metrics["channels"]
    if "subjects" in metrics:
        say_drawings(metrics, reporter)
    else:
        answers = list(next(iter(channels.values()))["answers"])
        rows = [
            (channel, *(f"{each['answers'][answer]['mse']['value']:.4f}" for answer in answers))
            for channel, each in channels.items()
        ]
        title = (
            f"mean squared error: {data['n_windows']:,} windows of {data['n_subjects']} subjects"
        )
        reporter.table(title, ("channel", *answers), rows)
    for notice in metrics["notices"]:
        reporter.warn(notice)
    reporter.fact("report", folder / "report.html", "test_metrics.json")
