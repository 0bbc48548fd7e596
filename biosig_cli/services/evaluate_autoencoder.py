"""An autoencoder by itself: how well it draws what it kept, and what its embedding knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import MANIFEST, WindowStore, has_split, open_split, open_store
from biosig_cli.models.ppg_autoencoder import PpgAutoencoder
from biosig_cli.objectives.reconstruction import Reconstruction
from biosig_cli.report.evaluation_material import DrawnReconstruction
from biosig_cli.services.audit import trained_by
from biosig_cli.services.embedding_probes import cut_stretches, probe_rates
from biosig_cli.services.evaluate_drawings import (
    Values,
    by_subject,
    draw_stretches,
    measure_drawings,
    subjects_of,
    trivial_answers,
)
from biosig_cli.services.evaluate_models import Candidate, random_twin
from biosig_cli.signal.spec import SignalSpec

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig

MOST_SUBJECTS = 20
"""That are shown one by one; all are in test_metrics.json."""
DRAWN = {
    "mse": "MSE",
    "ssim": "SSIM",
    "correlation": "r",
    "stretch_correlation": "r, 30 s",
    "spectral_error": "spectral",
    "rate_error_bpm": "bpm",
}
"""Figures by their short names: of the terminal, where lines are short."""
PROBED = ("mae", "r", "r2", "new_mae")


def judge_autoencoder(
    model: Candidate,
    objective: Reconstruction,
    store: WindowStore,
    data_dir: Path,
    config: "EvaluateConfig",
    device: str,
) -> tuple[Mapping[str, Mapping[str, Values]], list[DrawnReconstruction], dict[str, Any]]:
    """Have every window drawn again, and probe the embedding for rates.

    Windows may have another length than those the encoder was trained on.

    Returns:
        By answer and metric (N, C) figures, stretches to look at, and what else there is to tell.

    Raises:
        DataError: If windows run faster or slower than those the encoder was trained on.
    """
    encoder, twin = model.encoder, random_twin(model, config.seed)
    assert isinstance(encoder, PpgAutoencoder)
    assert isinstance(twin, PpgAutoencoder)
    check_rate(encoder, store)
    known = open_known(model, data_dir, store)
    n_numbers, n_samples = encoder.latent_size(store.spec.n_samples), store.spec.n_samples
    trivial = trivial_answers(objective, n_numbers, known[0] if known else None)
    found = measure_drawings(encoder, objective, store, trivial, device)
    people = subjects_of(store)
    stretches = cut_stretches(
        [part for each in (*known, store) for part in with_breathing(each)],
        {"embedding": encoder, "embedding, untrained": twin},
        frozenset(who for each in trained_by(model.past) for who in each.subjects),
        device,
    )
    probes, notices = probe_rates(stretches, seed=config.seed, n_resamples=config.n_resamples)
    if not known:
        notices.append(f"no training windows in {data_dir}: components of patches are not learned")
    more = {
        "task": {
            "kind": "reconstruction",
            "drawn": objective.target,
            "numbers_kept": n_numbers,
            "samples": n_samples,
        },
        "notices": notices,
        "subjects": by_subject(found.figures, people, store.spec.names),
        "probes": probes,
    }
    drawn = draw_stretches(encoder, objective, store, found.short, people, device)
    return found.figures, drawn, more


def check_rate(encoder: PpgAutoencoder, store: WindowStore) -> None:
    """Make sure that windows run as fast as those the encoder knows; their length is free.

    Raises:
        DataError: If they do not.
    """
    own, given = encoder.spec.sampling_hz, store.spec.sampling_hz
    if own != given:
        raise DataError(
            f"{store.path} holds windows at {given:g} Hz, the encoder was trained at {own:g} Hz",
            hint=f"build them at its rate: --set windows.sampling_hz={own:g}",
        )


def open_known(model: Candidate, data_dir: Path, store: WindowStore) -> list[WindowStore]:
    """Return train and val windows without the people in `store`, beside it or of the training."""
    trained_in = Path(model.content["config"]["windows"][0]["store"])
    folder = next((each for each in (data_dir, trained_in) if has_split(each, "train")), None)
    if folder is None:
        return []
    splits = [name for name in ("train", "val") if has_split(folder, name)]
    stores = [open_split(folder, name, channels=store.spec.names) for name in splits]
    return [
        each
        for each in stores
        if not set(each.subjects) & set(store.subjects)
        and each.spec.sampling_hz == store.spec.sampling_hz
    ]


def with_breathing(store: WindowStore) -> list[WindowStore]:
    """Return the same windows with the respiration that was recorded beside them, if it was."""
    parts = store.stores
    if sum(map(len, parts)) != len(store) or not all((p.path / MANIFEST).is_file() for p in parts):
        return [store]
    whole = SignalSpec.parse(parts[0].manifest["spec"])
    breathing = [each.name for each in whole.channels if each.kind == "resp"]
    names = dict.fromkeys([*store.spec.names, *breathing])
    return [open_store(part.path, channels=list(names)) for part in parts]


def say_drawings(metrics: Mapping[str, Any], reporter: Reporter) -> None:
    """Show how well an autoencoder draws windows, for all and by person, and its probes."""
    data, task = metrics["data"], metrics["task"]
    many = f"{data['n_windows']:,} windows of {data['n_subjects']} subjects"
    kept = f"{task['numbers_kept']:,} numbers for {task['samples']:,} samples"
    head = tuple(DRAWN.values())
    rows = [
        (f"{channel}: {answer}", *(shown(figures.get(key, {}).get("value")) for key in DRAWN))
        for channel, each in metrics["channels"].items()
        for answer, figures in each["answers"].items()
    ]
    reporter.table(f"drawn again: {many}, {kept}", ("answer", *head), rows)
    rows = [
        (f"{row['subject']} {channel}", row["n_windows"], *map(shown, by_metric(answers)))
        for row in metrics["subjects"][:MOST_SUBJECTS]
        for channel, answers in row["channels"].items()
    ]
    reporter.table(
        "by subject, beside the lowest MSE without a network",
        ("subject", "n", *head, "trivial"),
        rows,
    )
    for found in metrics["probes"]:
        new = f"of them {found['n_new_subjects']} that the encoder never saw"
        title = (
            f"{found['label']} ({found['unit']}) from half minutes: {found['n_windows']:,} of "
            f"{found['n_subjects']} people left out in turn, {new}"
        )
        rows = [
            (each["name"], *(shown(each["figures"].get(key, {}).get("value")) for key in PROBED))
            for each in found["answers"]
        ]
        reporter.table(title, ("answer", "MAE", "r", "R²", "MAE, never seen"), rows)


def by_metric(answers: Mapping[str, Mapping[str, float | None]]) -> list[float | None]:
    """Return the model's figures, and the lowest error of the other answers."""
    others = [each["mse"] for name, each in answers.items() if name != "model"]
    least = min((error for error in others if error is not None), default=None)
    return [*(answers["model"].get(key) for key in DRAWN), least]


def shown(value: float | None) -> str:
    """Return a figure as a table shows it."""
    return "" if value is None else f"{value:.3f}"
