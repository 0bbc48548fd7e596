"""`biosig evaluate`: how good a model is on people it never saw, beside answers that need none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from biosig_cli.core.artifacts import FORMAT, alone_in, atomic_path, provenance, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Machine, choose_device
from biosig_cli.data.remote import StorePath
from biosig_cli.report.evaluation_page import write_evaluation_page
from biosig_cli.services.evaluate_answers import Comparison
from biosig_cli.services.evaluate_data import Labelled, open_labelled
from biosig_cli.services.evaluate_models import Candidate, open_candidates
from biosig_cli.services.evaluate_pictures import gather_material
from biosig_cli.services.evaluate_reconstruction import evaluate_reconstruction
from biosig_cli.services.evaluate_repeats import cross_validation, label_efficiency
from biosig_cli.services.evaluate_scores import score
from biosig_cli.services.model_card import MODEL_CARD, write_model_card
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.intervals import FEW_SUBJECTS, N_RESAMPLES
from biosig_cli.tasks.kinds import AnyTask
from biosig_cli.tasks.metrics import HIGHER_IS_BETTER

METRICS, PREDICTIONS, REPORT = "test_metrics.json", "predictions.parquet", "report.html"


class EvaluateConfig(Config):
    """Which models, and on whom."""

    checkpoint: tuple[Path, ...] = (Path("artifacts/finetune"),)
    """Checkpoints or run folders; the first is compared with everything else."""
    data_dir: StorePath | None = None
    """Labelled windows; those that the model was trained beside, if not given."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Whose windows are scored; `all` for data that the model has nothing to do with."""
    output_dir: Path | None = None
    """Folder of the report; the first checkpoint's, if not given."""
    recipe: str | None = None
    """How windows are cut, where `data_dir` holds recordings: a YAML file or a shipped config."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate of the windows, where they do not state it."""
    task: AnyTask | None = None
    """What a pretrained encoder is probed for; a fine-tuned model brings its own."""
    probe: Literal["linear", "ridge", "knn"] = "linear"
    """What is trained on frozen embeddings."""
    folds: int | None = Field(None, ge=0)
    """Groups of people left out in turn; as many as there are people, at most ten, where fewer
    than 20 are tested; 0 leaves it out."""
    label_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Parts of the training labels to learn from, for the curve of label efficiency."""
    n_seeds: int = Field(5, gt=0)
    """Draws of those parts."""
    n_resamples: int = Field(N_RESAMPLES, gt=0)
    """Resamples of people, for intervals."""
    batch_size: int = Field(256, gt=0)
    """Windows in a batch."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    seed: int = 42
    """Of resamples, folds, random encoders and maps."""


@dataclass(frozen=True)
class EvaluateResult:
    """What was found, and where it is written."""

    folder: Path
    metrics: dict[str, Any]


def evaluate(config: EvaluateConfig, reporter: Reporter) -> EvaluateResult:
    """Score checkpoints on windows of people that they never saw, and write a report.

    Raises:
        ConfigError: If the models answer different questions, or another command writes into the
            folder.
        DataError: If there are no windows or no labels.
        CheckpointError: If a checkpoint can't be read.
        LeakageError: If a model, or one that it comes from, saw someone in the test split.
    """
    models = open_candidates(config.checkpoint)
    folder = config.output_dir or models[0].folder
    with alone_in(folder):
        return _evaluate(config, models, folder, reporter)


def _evaluate(
    config: EvaluateConfig, models: Sequence[Candidate], folder: Path, reporter: Reporter
) -> EvaluateResult:
    device = choose_device(config.device, Machine.detect())
    reporter.fact("device", device.value, device.why)
    task = settled_task(models, config.task)
    if task is None:
        metrics = evaluate_reconstruction(config, models[0], device.value, folder, reporter)
        write_model_card(models[0].path, folder / MODEL_CARD, of=folder)
        return EvaluateResult(folder, metrics)
    data = open_labelled(config, models, task, folder, reporter)
    models = [model.fitted_to(data.stores["test"].spec) for model in models]
    compared = Comparison(config, models, data, device.value)
    answers, notices = compared.answers()
    scored = score(compared, answers)
    repeated, more = cross_validation(compared, reporter)
    seen = data.seen if repeated else []
    notices = [*data.notices, *seen, *few(data, repeated), *notices, *more]
    metrics = {
        "format": FORMAT,
        **provenance("torch", "numpy", "scikit-learn"),
        "command": "evaluate",
        "task": describe_task(compared),
        "data": data.describe(),
        "models": [model.describe() for model in models],
        "notices": notices,
        "lead": "cross_validation" if repeated and few(data, repeated) else "split",
        "answers": scored,
        "cross_validation": repeated,
        "label_efficiency": label_efficiency(compared, reporter),
    }
    write_json(folder / METRICS, metrics)
    write_predictions(folder / PREDICTIONS, data, answers)
    material = gather_material(compared, answers[0])
    write_evaluation_page(folder / REPORT, metrics, drawn=material)
    write_model_card(models[0].path, folder / MODEL_CARD, of=folder)
    conclude(metrics, folder, reporter)
    return EvaluateResult(folder, metrics)


def settled_task(models: Sequence[Candidate], asked: AnyTask | None) -> AnyTask | None:
    """Return what is asked of all models; None where only reconstruction can be.

    Raises:
        ConfigError: If they answer different questions.
    """
    tasks = {model.name: model.task for model in models if model.task is not None}
    if not tasks:
        return asked
    name, first = next(iter(tasks.items()))
    for other_name, other in tasks.items():
        if (question(other), other.known_values) != (question(first), first.known_values):
            raise ConfigError(
                f"{name} answers {question(first)}{classes(first)}, {other_name} "
                f"{question(other)}{classes(other)}",
                hint="compare models of one task and of the same classes",
            )
    if asked is not None and question(asked) != question(first):
        raise ConfigError(
            f"{name} was fine-tuned for {question(first)}, not for {question(asked)}",
            hint="leave --task and --label out, or give a pretrained encoder to probe",
        )
    return first


def question(task: AnyTask) -> str:
    """Return what a task asks."""
    return f"{task.kind} of {task.label}"


def classes(task: AnyTask) -> str:
    """Return the values of the label that a task tells apart, as an error shows them."""
    return (
        f" ({', '.join(f'{value:g}' for value in task.known_values)})" if task.known_values else ""
    )


def few(data: Labelled, repeated: Mapping[str, Any] | None) -> list[str]:
    """Return what is to be said where few people are tested."""
    n_subjects = data.parts["test"].n_subjects
    if n_subjects >= FEW_SUBJECTS:
        return []
    people = "1 test subject is" if n_subjects == 1 else f"{n_subjects} test subjects are"
    instead = "; read the figures with people left out in turn first" if repeated else ""
    return [f"{people} few: intervals over people are too narrow{instead}"]


def describe_task(compared: Comparison) -> dict[str, Any]:
    """Return what the report says of the question."""
    task = compared.data.task
    return {
        "kind": task.kind,
        "label": task.label,
        "classes": list(task.class_names) if task.kind == "classification" else [],
        "level": task.level,
        "primary": compared.metric,
        "unit": compared.unit,
        "higher_is_better": HIGHER_IS_BETTER[compared.metric],
    }


def write_predictions(path: Path, data: Labelled, answers: Sequence[Answer]) -> None:
    """Write what every answer says of every window that was scored."""
    test = data.parts["test"]
    columns: dict[str, Any] = {
        "subject": test.subject,
        "record": test.record,
        "start_s": test.start_s,
        "target": test.target,
    }
    for answer in answers:
        if answer.n_classes is None:
            columns[answer.name] = answer.score
        else:
            for number in range(answer.n_classes):
                columns[f"{answer.name}: {data.task.say(number)}"] = answer.score[:, number]
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def conclude(metrics: Mapping[str, Any], folder: Path, reporter: Reporter) -> None:
    """Show every answer's primary figure, of people left out in turn first where it was made."""
    name, level = metrics["task"]["primary"], metrics["task"]["level"]
    repeated, data = metrics["cross_validation"], metrics["data"]
    tables = [(f"{data['split']}: {data['n_windows']:,} windows", data["n_subjects"], metrics)]
    if repeated:
        tables.insert(0, (repeated["how"], repeated["n_subjects"], repeated))
    for title, n_subjects, found in tables:
        rows = [
            (each["name"], show(each["levels"][level][name]), show(each["difference"]))
            for each in found["answers"]
        ]
        whose = "1 subject" if n_subjects == 1 else f"{n_subjects} subjects"
        columns = ("answer", f"{name} (95 % interval)", "first is better by")
        reporter.table(f"{title}, {whose}", columns, rows)
    for notice in metrics["notices"]:
        reporter.warn(notice)
    reporter.fact("report", folder / REPORT, f"{METRICS}, {PREDICTIONS}, {MODEL_CARD}")


def show(figure: Mapping[str, Any] | None) -> str:
    """Return a figure as a table shows it."""
    if figure is None:
        return ""
    if figure["value"] is None:
        return f"not defined ({figure['why']})"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
