"""`MODEL_CARD.md`: what a checkpoint and its run folder say of a model, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_cli.core.artifacts import read_json, sha256
from biosig_cli.core.config import flat
from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import duration
from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.engine.checkpoint import find_checkpoint, lineage, load_checkpoint
from biosig_cli.models.kinds import read_model
from biosig_cli.report.cards import UNKNOWN, bullets, facts, figure, table, write_card
from biosig_cli.services.export_model import steps
from biosig_cli.services.people import AGES, ages_in_words, sexes_in_words
from biosig_cli.services.run_facts import MANIFEST

MODEL_CARD = "MODEL_CARD.md"
METRICS = "test_metrics.json"
PLACES = (
    *("output_dir", "data_dir", "output", "checkpoint", "pretrained", "recipe", "windows"),
    "model.init_from",
)
"""Settings that are somebody's paths: a card is for others."""
FEW = 5
"""Validation people whose choice of an epoch may be luck."""


def write_model_card(
    checkpoint: Path, path: Path, *, head: str = "", of: Path | None = None
) -> Path:
    """Write the card of a model.

    Args:
        checkpoint: A run, or one of its checkpoints.
        path: The card.
        head: What stands before it.
        of: Where its evaluation is, if that is not in its folder.
    """
    file = find_checkpoint(checkpoint)
    content = load_checkpoint(file)
    manifest = _read(file.parent / MANIFEST)
    digest = sha256(file)
    metrics = _evaluation(_read((of or file.parent) / METRICS), digest)
    lines = [
        *head.splitlines(),
        *what_it_is(content, file, digest),
        *data(content),
        *how_windows_are_made(content),
        *training(content, manifest),
        *results(content, metrics),
        *limits(content, metrics),
    ]
    return write_card(path, lines)


def what_it_is(content: Mapping[str, Any], file: Path, digest: str) -> list[str]:
    """Return the title and what the model takes and gives."""
    task, spec = content.get("task"), content["spec"]
    kind = read_model(content["model_config"], str(file)).called
    asked = f"{task['kind']} of {task['label']} by {task['level']}" if task else "nothing yet"
    parts = ("encoder_state_dict", "head_state_dict")
    count = {part: sum(t.numel() for t in content.get(part, {}).values()) for part in parts}
    rows: list[tuple[str, Any]] = [
        ("Family", kind),
        ("Answers", asked),
        ("Parameters", f"{count[parts[0]]:,} in the encoder, {count[parts[1]]:,} in the head"),
        ("Window", f"{spec['n_samples']} samples at {spec['sampling_hz']:g} Hz"),
        ("Checkpoint", f"{file.name}, sha256 {digest}"),
        ("Made with", f"biosig {content.get('biosig_version') or UNKNOWN}"),
    ]
    if task and task.get("class_names"):
        rows.insert(2, ("Classes", task["class_names"]))
        threshold = (content.get("metrics") or {}).get("val_threshold")
        rows.insert(3, ("Threshold chosen by validation", threshold))
    channels = [(each["name"], each["kind"], each.get("unit")) for each in spec["channels"]]
    title = f"# {'A fine-tuned model' if task else 'A pretrained encoder'} of physiological signals"
    return [title, "", *facts(rows), *table(("channel", "kind", "unit"), channels)]


def data(content: Mapping[str, Any]) -> list[str]:
    """Return whose windows shaped the model, its parents' too, and under which licence."""
    rows = []
    for number, run in enumerate(lineage(content, "this model", "")):
        name = "this model" if run["checkpoint"] == "this model" else f"parent {number + 1}"
        for split, part in (run.get("data") or {}).items():
            sources = part.get("sources") or [{}]
            said = [
                "; ".join(dict.fromkeys(each.get(key) or UNKNOWN for each in sources))
                for key in ("kind", "licence")
            ]
            count = len(part.get("subjects") or ()) or None
            people = part.get("people") or [{}]
            about_them = [
                "; ".join(words(each) for each in people)
                for words in (ages_in_words, sexes_in_words)
            ]
            rows.append((name, split, part.get("n_windows"), count, *about_them, *said))
    columns = ("run", "split", "windows", "people", AGES, "sex", "recordings", "licence")
    splits = content.get("splits") or {}
    counts = {name: len(people) for name, people in splits.items() if isinstance(people, list)}
    about: list[tuple[str, object]] = [
        ("People of each split", counts or None),
        ("How they were split", "by person: nobody stands in two splits" if counts else None),
    ]
    parent = content.get("parent") or {}
    if parent:
        about.append(("Starts from", f"{_called(parent['source'])}, sha256 {parent.get('sha256')}"))
    return ["## Data", "", *table(columns, rows), *facts(about)]


def _called(source: str) -> str:
    """Return what a parent is called, without the path of somebody's disk."""
    path = Path(source)
    name = path.parent.name if path.suffix == ".pt" else path.name
    return source if "/" in source and not path.is_absolute() and "@" in source else name


def how_windows_are_made(content: Mapping[str, Any]) -> list[str]:
    """Return what is done to recordings before the model sees them."""
    recipe = content.get("recipe")
    said = [UNKNOWN, ""] if recipe is None else bullets(steps(WindowRecipe.parse(recipe)))
    return ["## How windows are made", "", *said]


def training(content: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Return the recipe of the training, and what it took."""
    took = manifest.get("duration_s")
    packages = manifest.get("packages")
    compute = [
        ("Command", manifest.get("command")),
        ("Device", manifest.get("device")),
        ("Precision", manifest.get("precision")),
        ("Processes", manifest.get("n_processes")),
        ("Training took", None if took is None else duration(float(took))),
        ("Best epoch", f"{content.get('epoch')} of {manifest.get('epochs') or UNKNOWN}"),
        ("Ended", manifest.get("made_at")),
        ("Packages", packages),
    ]
    # The architecture as it is: fine-tuning takes its parent's, whatever its settings say.
    stated = flat(content.get("config") or {}) | flat({"model": content["model_config"]})
    settings = [
        (key, "none" if value is None else value)
        for key, value in stated.items()
        if not key.startswith(PLACES)
    ]
    return ["## Training", "", *facts(compute), *table(("setting", "value"), settings)]


def results(content: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """Return what validation said, and what an evaluation found beside trivial answers."""
    said = content.get("metrics") or {}
    rows = [(k.removeprefix("val_"), v) for k, v in said.items() if k.startswith("val_")]
    lines = ["## Results", "", "On the people who chose the best epoch:", ""]
    lines += table(("figure", "value"), rows)
    if not metrics:
        return [*lines, f"On people it never saw: {UNKNOWN}.", ""]
    whose = metrics["data"]
    lines += [
        f"On split {whose['split']}: {whose['n_windows']:,} windows of {whose['n_subjects']} "
        "people, with 95 % intervals over people:",
        "",
        *(_answers(metrics) if "answers" in metrics else _drawings(metrics)),
    ]
    repeated = metrics.get("cross_validation")
    if repeated:
        lines += ["With people left out in turn:", "", *_answers({**metrics, **repeated})]
    return lines


def _answers(metrics: Mapping[str, Any]) -> list[str]:
    task = metrics["task"]
    name, level = task["primary"], task["level"]
    rows = [
        (each["name"], figure(each["levels"][level][name]), figure(each.get("difference")))
        for each in metrics["answers"]
    ]
    unit = f", {task['unit']}" if task.get("unit") else ""
    return table(("answer", f"{name}{unit} by {level}", "first is better by"), rows)


def _drawings(metrics: Mapping[str, Any]) -> list[str]:
    rows = [
        (channel, answer, figure(found["mse"]))
        for channel, each in metrics["channels"].items()
        for answer, found in each["answers"].items()
    ]
    return table(("channel", "answer", "mean squared error"), rows)


def limits(content: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """Return what the records say against the model."""
    return ["## Limits", "", *bullets(_limits(content, metrics))]


def _limits(content: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    names = [channel["name"] for channel in content["spec"]["channels"]]
    yield f"It was trained on {_some(names)} alone, windows made as said above."
    n_people = len(((content.get("data") or {}).get("val") or {}).get("subjects") or ())
    if 0 < n_people < FEW:
        who = "1 person" if n_people == 1 else f"{n_people} people"
        yield f"{who} chose the best epoch: figures of validation may be luck."
    if not metrics:
        yield "No evaluation on people it never saw is recorded."
    yield from metrics.get("notices") or ()
    if content.get("recipe") is None:
        yield "How its windows are made is not recorded: raw recordings can't be given to it."
    yield "No clinical validation is recorded."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])} ... {names[-1]}"


def _evaluation(metrics: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return an evaluation if its first model is this one; figures of another are nothing."""
    models = metrics.get("models") or [{}]
    return metrics if models[0].get("sha256") == digest else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) if path.is_file() else {}
    except DataError:
        return {}
