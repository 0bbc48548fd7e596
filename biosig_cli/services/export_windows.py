"""Real windows that an exported model is tried on, and labels that say what int8 costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import BiosigError, ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import WindowStore
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.given_windows import Given, GivenConfig, GivenStore, open_given
from biosig_cli.services.task_windows import open_for_scoring
from biosig_cli.tasks.examples import Examples, by_level, find_examples

Floats = NDArray[np.float32]
MOST_WINDOWS, MOST_SAMPLES = 64, 400_000
"""Windows that a model is tried on; of long ones, as many as have so many samples."""


def own_windows(content: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return where a checkpoint says that the windows or recordings of its training lie."""
    config = content.get("config") or {}
    stated = [config.get("data_dir"), *(each["store"] for each in _stores(config))]
    return tuple(Path(each) for each in stated if each and Path(each).exists())


def _stores(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    windows = config.get("windows")
    return [each for each in windows if "store" in each] if isinstance(windows, list) else []


def some_windows(config: GivenConfig, model: Candidate) -> tuple[Floats, list[Given]]:
    """Return windows (N, C, T) to try a model on, and what they were taken from.

    Raises:
        ConfigError: If none are given and those of its training are not there.
        DataError: If there is not one.
    """
    inputs = config.inputs or own_windows(model.content)[:1]
    if not inputs:
        raise ConfigError(
            "an export is tried on real windows, and those of the model's training are not here",
            hint="give recordings or windows: biosig export --checkpoint RUN RECORDINGS",
        )
    given = open_given(config.model_copy(update={"inputs": inputs}), model.content, model.path)
    spec = model.encoder.spec
    n_wanted = max(3, min(MOST_WINDOWS, MOST_SAMPLES // (spec.n_channels * spec.n_samples)))
    found: list[Floats] = []
    problem = ""
    for portion in (portion for each in given for portion in each.portions()):
        problem = problem or portion.problem
        # A montage that lacks electrodes is another shape than the file's.
        if portion.windows is None or portion.windows.data.shape[1:] != _shape(model):
            continue
        found.append(portion.windows.data[:n_wanted].astype(np.float32))
        if sum(map(len, found)) >= n_wanted:
            break
    windows = np.concatenate(found)[:n_wanted] if found else np.zeros((0, *_shape(model)))
    if not len(windows):
        raise DataError(
            f"not one window to try the model on in {', '.join(map(str, inputs))}: {problem}",
            hint="give recordings with its channels: biosig export --checkpoint RUN RECORDINGS",
        )
    return np.ascontiguousarray(windows, np.float32), given


def _shape(model: Candidate) -> tuple[int, int]:
    return model.encoder.spec.n_channels, model.encoder.spec.n_samples


def labelled_windows(
    model: Candidate, given: Sequence[Given]
) -> tuple[WindowStore | None, Examples | None, str]:
    """Return windows whose answers are known, and why there are none.

    Those that were given come first, of them a test split; then that of the model's own training.
    """
    task, content = model.task, model.content
    if task is None:
        return None, None, "a pretrained encoder answers nothing"
    stores = [each.store for each in given if isinstance(each, GivenStore)]
    known = [store for store in stores if task.label in store.labels]
    known.sort(key=lambda store: store.path.name != "test")
    try:
        store = known[0] if known else None
        store = store or open_for_scoring(
            Path(content["config"]["data_dir"]),
            "test",
            channels=model.encoder.spec.names,
            sampling_hz=None,
            known_splits=content.get("splits"),
            recipe=content["config"].get("recipe"),
            work_dir=model.folder,
            reporter=Reporter(silent=True),
        )
        return store, find_examples(store, task.label, classes=task.known_values), ""
    except (BiosigError, LookupError, TypeError) as error:
        return None, None, f"no labelled windows: {error}"


def scored(model: Candidate, examples: Examples, answers: NDArray[np.float64]) -> dict[str, float]:
    """Return the figures of answers, at the level of the task."""
    assert model.task is not None
    wanted, said = by_level(examples, answers, model.task.level)
    return model.task.score(wanted.target, said)
