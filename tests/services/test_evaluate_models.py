"""What is compared: models of one question, the very parent, and splits that are sound."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from biosig_cli.core.errors import ConfigError, DataError, LeakageError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import BEST, load_checkpoint, save_checkpoint
from biosig_cli.models.base import Encoder
from biosig_cli.services.evaluate import EvaluateConfig, evaluate, settled_task
from biosig_cli.services.evaluate_answers import Comparison
from biosig_cli.services.evaluate_data import Labelled, seen_before
from biosig_cli.services.evaluate_models import Candidate, find_pretrained, open_candidates
from biosig_cli.services.finetune import finetune
from biosig_cli.tasks.classification import ClassificationConfig
from biosig_cli.tasks.kinds import AnyTask
from biosig_cli.tasks.regression import RegressionConfig
from tests.services.test_finetune import settings
from tests.stores import change_manifest
from tests.tasks.made import answer_of, both, examples_of

QUIET = Reporter(silent=True)


def candidate(name: str, task: AnyTask | None) -> Candidate:
    return Candidate(name, Path(name), {}, cast(Encoder, None), None, task)


def test_models_of_one_question_are_compared() -> None:
    task = ClassificationConfig(classes=(0, 1), class_names=("bad", "good"))
    named = task.model_copy(update={"class_names": ("no", "yes")})
    models = [candidate("pretrained", None), candidate("one", task), candidate("two", named)]
    assert settled_task(models, None) == task
    assert settled_task(models, ClassificationConfig()) == task
    assert settled_task(models[:1], ClassificationConfig()) == ClassificationConfig()
    assert settled_task(models[:1], None) is None


def test_models_that_tell_other_classes_apart_are_not_compared() -> None:
    two, three = (ClassificationConfig(classes=classes) for classes in ((0, 1), (0, 1, 2)))
    with pytest.raises(ConfigError, match=r"quality \(0, 1\), b .*quality \(0, 1, 2\)") as error:
        settled_task([candidate("a", two), candidate("b", three)], None)
    assert "same classes" in error.value.hint
    swapped = ClassificationConfig(classes=(1, 0))
    with pytest.raises(ConfigError, match=r"b classification of quality \(1, 0\)"):
        settled_task([candidate("a", two), candidate("b", swapped)], None)
    with pytest.raises(ConfigError, match="b regression of hr"):
        settled_task([candidate("a", two), candidate("b", RegressionConfig())], None)


@pytest.fixture
def child(labelled: Path, encoder_run: Path, tmp_path: Path) -> tuple[Candidate, Path]:
    """A fine-tuned model, and the checkpoint that it started from."""
    parent = tmp_path / "parent"
    parent.mkdir()
    shutil.copy(encoder_run / BEST, parent)
    plan = {"epochs": 1}
    finetune(settings(labelled, parent, tmp_path / "child", plan=plan, map={"ECG": "PPG"}), QUIET)
    return open_candidates([tmp_path / "child"])[0], parent / BEST


def test_the_encoder_that_a_model_started_from_gets_its_channels(
    child: tuple[Candidate, Path],
) -> None:
    model, file = child
    found, why = find_pretrained(model)
    assert found is not None
    assert why == ""
    assert found.encoder.spec.names == ("ACC_X", "PPG", "ECG")
    own = load_checkpoint(file)["encoder_state_dict"]
    start = found.encoder.state_dict()
    assert start["channel_embedding"][1].equal(own["channel_embedding"][0])
    assert start["channel_embedding"][2].equal(own["channel_embedding"][0]), "as --map said"
    assert start["backbone.encoder.patcher.weight"].equal(own["backbone.encoder.patcher.weight"])


def test_another_encoder_in_its_place_is_not_taken_for_it(child: tuple[Candidate, Path]) -> None:
    model, file = child
    save_checkpoint(file, load_checkpoint(file) | {"epoch": 99})
    found, why = find_pretrained(model)
    assert found is None
    assert why == f"{file} is not the encoder that child started from any more"
    file.unlink()
    found, why = find_pretrained(model)
    assert found is None
    assert "can't be probed: no checkpoint" in why


def test_only_people_that_pretraining_saw_are_counted() -> None:
    parts = {
        "train": examples_of([0, 1, 1], subject=["a", "a", "b"]),
        "test": examples_of([0, 1], subject=["c", "c"]),
    }

    def run(*subjects: str) -> Mapping[str, Any]:
        split = {"digest": "d", "subjects": list(subjects)}
        return {"checkpoint": "run", "sha256": "", "data": {"train": split}}

    assert seen_before([], parts) == []
    assert seen_before([run("x", "y")], parts) == []
    assert "2 of these 3 subjects" in seen_before([run("x", "c"), run("a")], parts)[0]


def levels(level: str, record: list[str]) -> dict[str, Any]:
    task = ClassificationConfig.parse({"level": level, "classes": [0, 1]})
    config = EvaluateConfig(n_resamples=10)
    data = cast(Labelled, SimpleNamespace(task=task))
    examples = examples_of([0, 1, 1, 0], subject=["a", "a", "b", "b"], record=record)
    answer = answer_of(both([0.1, 0.9, 0.8, 0.3]))
    return Comparison(config, [], data, "cpu").levels(examples, answer)


def test_figures_are_given_at_every_level_that_is_known() -> None:
    assert set(levels("window", ["r", "s", "t", "u"])) == {"window", "record", "subject"}
    assert set(levels("window", [""] * 4)) == {"window", "subject"}
    with pytest.raises(DataError, match="do not say which record they are from"):
        levels("record", [""] * 4)


def test_all_splits_of_a_data_set_are_checked_before_it_is_scored(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(labelled, data)
    change_manifest(data / "train", statistics={"fitted_on": ["train", "test"]})
    asked = {"checkpoint": [encoder_run], "data_dir": data, "output_dir": tmp_path / "out"}
    task = {"kind": "classification", "label": "quality"}
    with pytest.raises(LeakageError, match="fitted on more than train"):
        evaluate(EvaluateConfig.parse(asked | {"device": "cpu", "task": task}), QUIET)


def test_a_part_of_the_labels_is_above_none_and_at_most_all() -> None:
    assert EvaluateConfig.parse({"label_fractions": ["0.1", 1]}).label_fractions == (0.1, 1.0)
    for wrong in (0, 2):
        with pytest.raises(ConfigError, match=rf"label_fractions\.1.*found {wrong}"):
            EvaluateConfig.parse({"label_fractions": [0.5, wrong]})
