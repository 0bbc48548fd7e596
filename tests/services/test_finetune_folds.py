"""Folds: planned before anything is trained, added to a finished run, trained once for whom."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from biosig_cli.cli import run
from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.services import finetune_folds
from biosig_cli.services.evaluate_models import open_candidates
from biosig_cli.services.evaluate_repeats import n_trained
from biosig_cli.services.finetune import FinetuneConfig, finetune
from tests.services.conftest import labelled_windows
from tests.services.test_finetune import settings
from tests.stores import spec_of, write_store

QUIET = Reporter(silent=True)
ONE: dict[str, Any] = {"plan": {"epochs": 1}, "head_only_epochs": 1}


@pytest.fixture
def trained_without(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Whom each fold that is trained leaves out, in the order of training."""
    seen: list[tuple[str, ...]] = []
    train = finetune_folds.train_fold

    def spy(config: FinetuneConfig, parent: Any, parts: Any, run: Any) -> Any:
        seen.append(tuple(sorted(parts["test"].subjects)))
        return train(config, parent, parts, run)

    monkeypatch.setattr(finetune_folds, "train_fold", spy)
    return seen


def test_folds_are_added_to_a_finished_run_and_trained_once(
    labelled: Path, encoder_run: Path, tmp_path: Path, trained_without: list[tuple[str, ...]]
) -> None:
    out = tmp_path / "run"
    finetune(settings(labelled, encoder_run, out, **ONE), QUIET)
    assert trained_without == []
    folds = settings(labelled, encoder_run, out, folds=3, **ONE)
    finetune(folds, QUIET, resume=True)
    assert len(trained_without) == 3
    done = read_json(out / "folds" / "0" / "fold.json")
    assert sorted(done["subjects"]["test"]) == list(trained_without[0])
    finetune(folds, QUIET, resume=True)
    assert len(trained_without) == 3, "what is finished stays"
    file = out / "folds" / "1" / "fold.json"
    other = {"subjects": {"train": [], "val": [], "test": ["someone else"]}}
    file.write_text(json.dumps(read_json(file) | other), "utf-8")
    finetune(folds, QUIET, resume=True)
    assert trained_without[3:] == trained_without[1:2], "that fold was of other people"
    finetune(settings(labelled, encoder_run, out, folds=2, **ONE), QUIET, resume=True)
    assert len(trained_without) == 6, "both groups are other people than before"
    table = pq.read_table(out / "folds" / "predictions.parquet").to_pandas()
    assert set(table["fold"]) == {0, 1}
    assert n_trained(open_candidates([out])[0]) == 2, "as many as evaluate takes by itself"


def test_more_folds_than_people_are_refused_before_anything_is_trained(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="11 subjects can't be parted into 20 folds") as error:
        finetune(settings(labelled, encoder_run, tmp_path / "run", folds=20), QUIET)
    assert "take 2 to 11" in error.value.hint
    assert not (tmp_path / "run").exists()


def test_a_fold_that_can_not_be_trained_is_refused_before_anything_is(
    encoder_run: Path, tmp_path: Path
) -> None:
    # p0 and p1 alone have both classes: who leaves one of them out has the other to validate.
    for split, numbers in {"train": (0, 2), "val": (1,), "test": (3,)}.items():
        records = [labelled_windows(number, ("PPG", "ECG")) for number in numbers]
        for number, record in zip(numbers, records, strict=True):
            if number > 1:
                record.columns["label_quality"][:] = 1
        facts = {"labels": {"quality": {}}}
        write_store(tmp_path / "data" / split, records, spec_of(names=("PPG", "ECG")), **facts)
    config = settings(tmp_path / "data", encoder_run, tmp_path / "run", folds=4, **ONE)
    with pytest.raises(DataError, match=r"fold 0 \(without p0\): .* in every training window"):
        finetune(config, QUIET)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_other_settings_where_that_is_asked_for(
    labelled: Path, encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    finetune(settings(labelled, encoder_run, out, **ONE), QUIET)
    line = ["finetune", "--output-dir", str(out), "--weight-decay", "0.5"]
    assert run([*line, "--resume"]) == 2
    error = capsys.readouterr().err
    assert "plan.weight_decay: 0.01 then, 0.5 now" in error
    assert "--resume-anyway" in error
    assert run([*line, "--resume-anyway"]) == 0
    assert read_json(out / "training_config.json")["plan"]["weight_decay"] == 0.5
