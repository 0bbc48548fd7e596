"""Evaluation: people never seen, trivial answers in the same table, no figure that is not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    LeakageError,
)
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import BEST, load_checkpoint, save_checkpoint
from biosig_cli.services import evaluate_answers
from biosig_cli.services.evaluate import EvaluateConfig, EvaluateResult, evaluate
from biosig_cli.services.evaluate_models import Candidate, Frozen, find_pretrained
from biosig_cli.services.finetune import finetune
from tests.services.conftest import labelled_windows, write_labelled
from tests.services.test_finetune import settings
from tests.stores import spec_of, write_store

QUIET = Reporter(silent=True)


@pytest.fixture(scope="session")
def tuned(labelled: Path, encoder_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned run with folds."""
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    more: dict[str, Any] = {"new_lr": 0.01, "plan": {"epochs": 5}, "folds": 3}
    finetune(settings(labelled, encoder_run, folder, **more), QUIET)
    return folder


@pytest.fixture(scope="session")
def altered(
    tuned: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[str]]:
    """Metrics of a run whose threshold and past were changed, and whose parent was opened when."""
    folder = tmp_path_factory.mktemp("altered") / "altered"
    folder.mkdir()
    content = load_checkpoint(tuned)
    content["metrics"]["val_threshold"] = 0.999999
    content["lineage"][0]["data"]["train"]["subjects"] = ["p1", "p2", "someone else"]
    save_checkpoint(folder / BEST, content)
    opened: list[str] = []

    def spy(model: Candidate) -> tuple[Frozen | None, str]:
        opened.append(model.name)
        return find_pretrained(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_answers, "find_pretrained", spy)
        return score(folder, out=folder, folds=3).metrics, opened


def score(*checkpoints: Path, out: Path, **more: Any) -> EvaluateResult:
    base = {"checkpoint": checkpoints, "output_dir": out, "device": "cpu", "n_resamples": 100}
    return evaluate(EvaluateConfig.parse(base | more), QUIET)


@pytest.fixture(scope="session")
def scored(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    return score(tuned, out=tmp_path_factory.mktemp("report"), label_fractions=(0.2, 1), n_seeds=2)


def names(answers: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in answers]


def test_a_model_decides_by_the_threshold_that_validation_chose(
    altered: tuple[dict[str, Any], list[str]], scored: EvaluateResult
) -> None:
    (first, *_), (before, *_) = altered[0]["answers"], scored.metrics["answers"]
    assert first["threshold"] == 0.999999
    assert first["levels"]["window"]["sensitivity"]["value"] == 0.0, "so sure it is of nothing"
    assert [row[1] for row in first["confusion"]] == [0, 0]
    assert before["threshold"] < 0.999999
    assert before["levels"]["window"]["sensitivity"]["value"] > 0.5
    auroc = [each["levels"]["window"]["auroc"] for each in (first, before)]
    assert auroc[0] == auroc[1], "ranks do not depend on it"


def test_people_that_pretraining_saw_are_told_of(
    altered: tuple[dict[str, Any], list[str]], scored: EvaluateResult
) -> None:
    said = [notice for notice in altered[0]["notices"] if "pretraining saw" in notice]
    assert len(said) == 1
    assert "signals of 2 of these 11 subjects" in said[0]
    assert not any("pretraining saw" in notice for notice in scored.metrics["notices"])


def test_the_encoder_that_it_started_from_is_opened_once(
    altered: tuple[dict[str, Any], list[str]],
) -> None:
    metrics, opened = altered
    assert "pretrained, frozen + linear probe" in names(metrics["answers"])
    assert opened == ["altered"]


def test_every_answer_stands_in_the_same_table(scored: EvaluateResult) -> None:
    assert names(scored.metrics["answers"]) == [
        "tuned",
        "pretrained, frozen + linear probe",
        "random encoder, frozen + linear probe",
        "majority",
        "age and sex",
        "features by hand (ACC_X, PPG, ECG)",
        "features by hand (PPG, agreement with ECG)",
        "features by hand (PPG)",
    ]
    first, *others = scored.metrics["answers"]
    assert first["levels"]["window"]["auroc"]["value"] > 0.9
    assert first["difference"] is None
    majority = others[2]
    assert majority["levels"]["window"]["auroc"]["value"] == 0.5
    better = majority["difference"]
    assert better["value"] == pytest.approx(first["levels"]["window"]["auroc"]["value"] - 0.5)
    assert better["low"] <= better["value"] <= better["high"]
    assert set(first["levels"]) == {"window", "record", "subject"}
    assert {each["group"] for each in first["groups"]["sex"]} == {"F", "M"}


def test_few_people_lead_with_people_left_out_in_turn(scored: EvaluateResult) -> None:
    metrics = scored.metrics
    assert metrics["lead"] == "cross_validation"
    assert any("3 test subjects are few" in notice for notice in metrics["notices"])
    repeated = metrics["cross_validation"]
    assert (repeated["n_folds"], repeated["n_subjects"], repeated["n_windows"]) == (3, 11, 110)
    assert names(repeated["answers"])[0] == "tuned", "from the folds of finetune"
    left_out = [who for fold in repeated["answers"][0]["folds"] for who in fold["subjects"]]
    assert sorted(left_out) == sorted(f"p{number}" for number in range(11))


def test_fewer_labels_make_a_curve(scored: EvaluateResult) -> None:
    curve = scored.metrics["label_efficiency"]
    assert names(curve["answers"])[-1] == "features by hand"
    for each in curve["answers"]:
        assert [point["fraction"] for point in each["points"]] == [0.2, 1.0]
        assert each["points"][0]["n_windows"] < each["points"][1]["n_windows"]
        assert len(each["points"][0]["values"]) == 6, "two draws in each of three folds"


def test_what_is_written_is_what_was_found(scored: EvaluateResult) -> None:
    assert read_json(scored.folder / "test_metrics.json") == scored.metrics
    table = pq.read_table(scored.folder / "predictions.parquet").to_pandas()
    assert len(table) == 30
    np.testing.assert_allclose(table["tuned: 0"] + table["tuned: 1"], 1, atol=1e-6)
    page = (scored.folder / "report.html").read_text("utf-8")
    assert "features by hand (PPG)" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_order_of_the_test_set_changes_nothing(
    labelled: Path, tuned: Path, scored: EvaluateResult, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    people = {"train": range(5), "val": range(5, 8), "test": (10, 8, 9)}
    for split, numbers in people.items():
        records = [labelled_windows(number, ("ACC_X", "PPG", "ECG")) for number in numbers]
        spec = spec_of(names=("ACC_X", "PPG", "ECG"))
        facts = read_json(labelled / split / "manifest.json")
        kept = {name: facts[name] for name in ("labels", "attributes", "source")}
        write_store(data / split, records, spec, **kept)
    other = score(tuned, out=tmp_path / "out", data_dir=data, folds=0)
    for one, two in zip(scored.metrics["answers"], other.metrics["answers"], strict=True):
        assert one["levels"] == two["levels"], one["name"]


def test_a_pretrained_encoder_is_probed_or_asked_to_reconstruct(
    encoder_run: Path, labelled: Path, windows: Path, tmp_path: Path
) -> None:
    task = {"kind": "classification", "label": "quality"}
    probed = score(encoder_run, out=tmp_path / "a", data_dir=labelled, task=task, probe="knn")
    assert names(probed.metrics["answers"])[:2] == [
        "run, frozen + knn probe",
        "random encoder, frozen + knn probe",
    ]
    rebuilt = score(encoder_run, out=tmp_path / "b").metrics
    ppg = rebuilt["channels"]["PPG"]["answers"]
    assert set(ppg) == {"model", "zero", "mean", "interpolation"}
    assert ppg["mean"]["mse"]["value"] == pytest.approx(1.0, abs=0.15), "units of the visible part"
    assert ppg["model"]["mse"]["why"] == "no interval over one subject"
    with pytest.raises(ConfigError, match="not said which windows"):
        score(encoder_run, out=tmp_path / "c", task=task)


def test_two_models_are_compared_in_one_report(
    tuned: Path, labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    plan = {"epochs": 1}
    finetune(settings(labelled, encoder_run, tmp_path / "ppg", channels=["PPG"], plan=plan), QUIET)
    both = score(tuned, tmp_path / "ppg", out=tmp_path / "out", folds=0).metrics
    assert names(both["answers"])[:2] == ["tuned", "ppg"]
    assert both["answers"][1]["difference"]["value"] is not None
    assert [model["channels"] for model in both["models"]] == [["ACC_X", "PPG", "ECG"], ["PPG"]]
    hr = {"task": {"kind": "regression", "label": "hr"}, "plan": plan}
    finetune(settings(labelled, encoder_run, tmp_path / "rate", **hr), QUIET)
    with pytest.raises(ConfigError, match="rate regression of hr"):
        score(tuned, tmp_path / "rate", out=tmp_path / "out")
    with pytest.raises(CheckpointError, match="given twice"):
        score(tuned, tuned / "best_model.pt", out=tmp_path / "out")


def test_a_heart_rate_stands_beside_counting_beats(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    more = {"task": {"kind": "regression", "label": "hr"}, "channels": ["PPG"]}
    finetune(settings(labelled, encoder_run, tmp_path / "rate", **more), QUIET)
    metrics = score(tmp_path / "rate", out=tmp_path / "rate", folds=0).metrics
    assert metrics["task"]["unit"] == "bpm"
    found = {each["name"]: each["levels"]["window"]["mae"] for each in metrics["answers"]}
    assert {"mean", "beat counting (PPG)", "features by hand (PPG)"} <= set(found)
    assert found["mean"]["value"] == pytest.approx(33.0), "114 beside 81 a minute"
    assert "aami" not in metrics["answers"][0]["levels"]["window"], "that is for mmHg"


def test_other_people_are_scored_whole_and_known_ones_refused(tuned: Path, tmp_path: Path) -> None:
    names_ = ("ACC_X", "PPG", "ECG")
    facts = {"labels": {"quality": {}}}
    strangers = [labelled_windows(number, names_) for number in (20, 21)]
    write_store(tmp_path / "whole", strangers, spec_of(names=names_), **facts)
    with pytest.raises((ConfigError, DataError), match="does not know p20, p21") as error:
        score(tuned, out=tmp_path / "out", data_dir=tmp_path / "whole")
    assert "--split all" in error.value.hint
    metrics = score(tuned, out=tmp_path / "out", data_dir=tmp_path / "whole", split="all").metrics
    assert metrics["data"]["n_subjects"] == 2
    assert metrics["cross_validation"] is None, "nobody here is trained on"
    known = [labelled_windows(number, names_) for number in (20, 1)]
    write_store(tmp_path / "known", known, spec_of(names=names_), **facts)
    with pytest.raises(LeakageError, match="pretraining saw a test subject"):
        score(tuned, out=tmp_path / "out", data_dir=tmp_path / "known", split="all")


def test_one_class_or_one_person_leaves_figures_undefined(tuned: Path, tmp_path: Path) -> None:
    names_ = ("ACC_X", "PPG", "ECG")
    record = labelled_windows(20, names_)
    record.columns["label_quality"][:] = 1
    write_store(tmp_path / "one", [record], spec_of(names=names_), labels={"quality": {}})
    metrics = score(tuned, out=tmp_path / "out", data_dir=tmp_path / "one", split="all").metrics
    figure = metrics["answers"][0]["levels"]["window"]["auroc"]
    assert figure["value"] is None
    assert "one class" in figure["why"]
    accuracy = metrics["answers"][0]["levels"]["window"]["accuracy"]
    assert accuracy["value"] is not None
    assert accuracy["low"] is None
    assert "one subject" in accuracy["why"]


def test_what_is_held_wrong_is_said(tuned: Path, encoder_run: Path, tmp_path: Path) -> None:
    two = write_labelled(tmp_path / "two", ("PPG", "ECG"))
    with pytest.raises(DataError, match="channel ACC_X not found"):
        score(tuned, out=tmp_path / "out", data_dir=two)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        score(tmp_path / "nowhere", out=tmp_path / "out")
    hr = {"kind": "regression", "label": "hr"}
    with pytest.raises(ConfigError, match="was fine-tuned for classification of quality"):
        score(tuned, out=tmp_path / "out", task=hr)
    assert not (tmp_path / "out").exists()
