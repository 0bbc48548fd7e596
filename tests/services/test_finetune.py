"""Fine-tuning: channels by name, stages that move what they say, and errors that help."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InterruptedRunError,
    LeakageError,
)
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import BEST, LAST, load_checkpoint
from biosig_cli.engine.train import Training
from biosig_cli.services.finetune import FinetuneConfig, finetune
from tests.services.conftest import SMALL, labelled_windows, write_labelled
from tests.stores import spec_of, write_store

QUIET = Reporter(silent=True)


def settings(data: Path, encoder: Path, out: Path, **more: Any) -> FinetuneConfig:
    plan = {"epochs": 4, "batch_size": 16, "lr": 1e-3} | more.pop("plan", {})
    base = {
        "data_dir": data,
        "pretrained": str(encoder),
        "output_dir": out,
        "plan": plan,
        "head_only_epochs": 2,
        "device": "cpu",
        "precision": "fp32",
    }
    return FinetuneConfig.parse(base | more)


def test_it_learns_to_tell_a_pulse_from_noise(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    more = {"new_lr": 0.01, "plan": {"epochs": 10}}
    result = finetune(settings(labelled, encoder_run, tmp_path / "run", **more), QUIET)
    assert result.train.best is not None
    assert result.train.best > 0.95, "AUROC on people it did not see"
    content = load_checkpoint(result.checkpoint)
    assert content["task"]["class_names"] == ["0", "1"]
    assert content["splits"]["test"] == ["p10", "p8", "p9"]
    assert set(content["data"]) == {"train", "val"}, "it was not shown the test split"
    assert "held_out" not in content
    assert content["lineage"][-1]["checkpoint"] == str(encoder_run)
    assert 0 < content["metrics"]["val_threshold"] < 1
    history = read_json(tmp_path / "run" / "training_history.json")
    assert len(history["val_auroc"]) == len(history["train_loss"]) == 10


def test_the_first_stage_moves_only_what_is_new_and_the_second_the_last_blocks(
    labelled: Path, encoder_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, dict[str, torch.Tensor]]] = []
    close = Training._close_epoch

    def spy(self: Training, *args: Any) -> bool:
        weights = {n: p.detach().clone() for n, p in self.trainable.named_parameters()}
        seen.append((self.state.stage, weights))
        return close(self, *args)

    monkeypatch.setattr(Training, "_close_epoch", spy)
    more = {"unfreeze_last_n": 1, "full_finetune": True, "full_finetune_epochs": 1}
    finetune(settings(labelled, encoder_run, tmp_path / "run", **more), QUIET)
    assert [stage for stage, _ in seen] == [0, 0, 1, 2]

    def moved(before: int, after: int) -> set[str]:
        one, other = seen[before][1], seen[after][1]
        return {name for name in one if not torch.equal(one[name], other[name])}

    first, second, third = moved(0, 1), moved(1, 2), moved(2, 3)
    assert {"encoder.channel_embedding", "encoder.mixer.weight", "head.out.weight"} <= first
    assert not any("backbone" in name for name in first), "the backbone is frozen bit for bit"
    blocks = {name[: name.index("layers.") + 8] for name in second if "backbone" in name}
    assert {name[-8:] for name in blocks} == {"layers.1"}, "one block moves, and it is the last"
    assert any("layers.0" in name for name in third)
    assert any("patcher" in name for name in third)
    assert "encoder.mask_token" not in third


def test_a_new_channel_is_heard_after_the_first_stage(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    config = settings(
        labelled, encoder_run, tmp_path / "run", plan={"epochs": 1}, head_only_epochs=1
    )
    finetune(config, QUIET)
    encoder = load_encoder(tmp_path / "run")
    assert encoder.spec.names == ("ACC_X", "PPG", "ECG")
    signal = torch.from_numpy(open_split(labelled, "test").read(np.arange(4)))
    silent = signal.clone()
    silent[:, 0] = torch.randn_like(silent[:, 0])
    with torch.no_grad():
        heard, other = (encoder(each).tokens[:, 1:] for each in (signal, silent))
    assert (heard - other).abs().max() > 1e-4, "PPG and ECG change with the accelerometer"


def test_stages_that_do_not_fit_are_shortened_and_said(
    labelled: Path, encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(
        labelled, encoder_run, tmp_path / "run", plan={"epochs": 1}, head_only_epochs=5
    )
    result = finetune(config, Reporter())
    assert result.train.n_epochs == 1
    assert "stages of 5 and 0 epochs are shortened to 1 and 0" in capsys.readouterr().out


def test_a_stopped_run_goes_on_to_the_same_weights(
    labelled: Path, encoder_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = finetune(settings(labelled, encoder_run, tmp_path / "one"), QUIET)
    fit = Training.fit
    monkeypatch.setattr(Training, "fit", lambda self: fit(self, stop_after=9))
    with pytest.raises(InterruptedRunError, match="stopped in epoch 3/4"):
        finetune(settings(labelled, encoder_run, tmp_path / "two"), QUIET)
    monkeypatch.setattr(Training, "fit", fit)
    with pytest.raises(ConfigError, match="holds a run"):
        finetune(settings(labelled, encoder_run, tmp_path / "two"), QUIET)
    resumed = finetune(settings(labelled, encoder_run, tmp_path / "two"), QUIET, resume=True)
    one, two = (load_checkpoint(each.folder / LAST) for each in (straight, resumed))
    for part in ("encoder_state_dict", "head_state_dict"):
        for name, tensor in one[part].items():
            assert torch.equal(two[part][name], tensor), name
    assert resumed.train.history == straight.train.history


def test_folds_leave_every_person_out_once(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    plan = {"epochs": 1}
    config = settings(labelled, encoder_run, tmp_path / "run", plan=plan, folds=3)
    finetune(config, QUIET)
    table = pq.read_table(tmp_path / "run" / "folds" / "predictions.parquet").to_pandas()
    assert len(table) == 110
    assert table.groupby("subject")["fold"].nunique().eq(1).all()
    assert set(table["fold"]) == {0, 1, 2}
    assert np.isfinite(table[["score_0", "score_1", "threshold"]]).all().all()
    np.testing.assert_allclose(table["score_0"] + table["score_1"], 1, atol=1e-6)
    assert not list((tmp_path / "run" / "folds").rglob("*.pt")), "no weights are kept of folds"


def test_a_heart_rate_is_learned_on_its_own_scale(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    more = {"task": {"kind": "regression", "label": "hr"}, "channels": ["PPG"], "new_lr": 0.01}
    result = finetune(settings(labelled, encoder_run, tmp_path / "run", **more), QUIET)
    content = load_checkpoint(result.checkpoint)
    assert content["task"]["unit"] == "bpm"
    assert content["task"]["center"] == pytest.approx(72.0), "60, 66, 72, 78 and 84 a minute"
    assert content["monitor"] == {"name": "val_mae", "best": result.train.best}
    assert load_encoder(result.folder).spec.names == ("PPG",)


def test_figures_stand_beside_those_of_one_answer_to_all(
    labelled: Path, encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"epochs": 1}

    def table(task: dict[str, str]) -> str:
        out = tmp_path / task["kind"]
        finetune(settings(labelled, encoder_run, out, task=task, plan=plan), Reporter())
        said = capsys.readouterr().out
        return said[said.index("validation, epoch 1 of 1") :]

    classes = table({"kind": "classification"})
    assert "balanced_accuracy" in classes
    assert "threshold" not in classes, "it is a setting, no figure"
    values = table({"kind": "regression", "label": "hr"})
    assert "not defined" in values, "the mean goes along with nothing"
    assert "nan" not in values


def test_answers_about_records_need_to_know_them(encoder_run: Path, tmp_path: Path) -> None:
    from tests.tasks.made import write_npz

    draw = np.random.default_rng(0)
    for split, who in (("train", "a"), ("val", "b"), ("test", "c")):
        quality, windows = [0.0, 1.0] * 4, draw.normal(size=(8, 2, 1250))
        labels = {"label_quality": quality, "subject": [who] * 8}
        write_npz(tmp_path / "data", windows, ["PPG", "ECG"], split=split, **labels)
    config = settings(tmp_path / "data", encoder_run, tmp_path / "run", task={"level": "record"})
    with pytest.raises(DataError, match="do not say which record they are from"):
        finetune(config, QUIET)
    assert not (tmp_path / "run").exists(), "before anything is trained"


def test_one_record_of_each_class_is_needed_where_answers_are_about_records(
    encoder_run: Path, tmp_path: Path
) -> None:
    for number, split in enumerate(("train", "val", "test")):
        record = labelled_windows(number, ("PPG", "ECG"))
        if split == "train":
            more = labelled_windows(7, ("PPG", "ECG"))
            more.columns["label_quality"][:] = 1
        records = [record, more] if split == "train" else [record]
        facts = {"labels": {"quality": {}}}
        write_store(tmp_path / "data" / split, records, spec_of(names=("PPG", "ECG")), **facts)
    config = settings(tmp_path / "data", encoder_run, tmp_path / "run", task={"level": "record"})
    with pytest.raises(DataError, match=r"all 1 validation records \(subjects p1\) are of class 0"):
        finetune(config, QUIET)


def test_from_scratch_starts_without_the_encoder(
    labelled: Path, encoder_run: Path, tmp_path: Path
) -> None:
    config = settings(labelled, encoder_run, tmp_path / "run", from_scratch=True)
    result = finetune(config, QUIET)
    content = load_checkpoint(result.checkpoint)
    assert content["parent"] is None
    assert content["lineage"] == []
    assert content["model_config"]["width"] == SMALL["width"], "the same architecture"


def test_channels_may_have_other_names(labelled: Path, encoder_run: Path, tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "data", ("PLETH", "II"))
    with pytest.raises(CheckpointError, match="nothing to carry over") as error:
        finetune(settings(data, encoder_run, tmp_path / "run"), QUIET)
    assert "--map PLETH=PPG" in error.value.hint
    mapped = {"PLETH": "PPG", "II": "ECG"}
    config = settings(data, encoder_run, tmp_path / "run", map=mapped, plan={"epochs": 1})
    finetune(config, QUIET)
    assert load_encoder(tmp_path / "run").spec.names == ("PLETH", "II")


def test_what_is_held_wrong_is_said(labelled: Path, encoder_run: Path, tmp_path: Path) -> None:
    def error(kind: type[Exception], said: str, **more: Any) -> None:
        with pytest.raises(kind, match=said) as caught:
            finetune(settings(labelled, encoder_run, tmp_path / "run", **more), QUIET)
        assert getattr(caught.value, "hint", ""), "it says what to do"

    sleep = {"kind": "classification", "label": "sleep"}
    error(DataError, "no label 'sleep'; it has quality, hr", task=sleep)
    error(DataError, "channel EEG not found", channels=["PPG", "EEG"])
    error(ConfigError, "--unfreeze-last-n 9: the encoder has 2 blocks", unfreeze_last_n=9)
    error(CheckpointError, "no weights", pretrained=str(tmp_path / "nowhere"))
    hr = {"kind": "classification", "label": "hr"}
    error(DataError, "its classes are 60, 66, 72, 78, 84", task=hr)
    assert not (tmp_path / "run" / "training_config.json").exists(), "nothing was begun"


def test_one_class_stops_training(encoder_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number, split in enumerate(("train", "val", "test")):
        record = labelled_windows(number, ("PPG", "ECG"))
        if split == "val":
            record.columns["label_quality"][:] = 1
        write_store(data / split, [record], spec_of(names=("PPG", "ECG")), labels={"quality": {}})
    with pytest.raises(
        DataError, match=r"validation windows \(subjects p1\) are of class 1"
    ) as error:
        finetune(settings(data, encoder_run, tmp_path / "run"), QUIET)
    assert "--monitor loss" in error.value.hint
    config = settings(data, encoder_run, tmp_path / "run", task={"monitor": "loss"})
    assert finetune(config, QUIET).train.best_epoch >= 1
    record = labelled_windows(0, ("PPG", "ECG"))
    record.columns["label_quality"][:] = 0
    write_store(data / "train", [record], spec_of(names=("PPG", "ECG")), labels={"quality": {}})
    with pytest.raises(DataError, match="nothing to tell apart"):
        finetune(settings(data, encoder_run, tmp_path / "other"), QUIET)


def test_an_encoder_that_saw_the_test_people_is_refused(encoder_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    seen = load_checkpoint(encoder_run / BEST)["data"]["train"]["subjects"][0]
    for number, split in enumerate(("train", "val", "test")):
        record = labelled_windows(number, ("PPG", "ECG"))
        if split == "test":
            record = type(record)(**{**vars(record), "subject": seen})
        write_store(data / split, [record], spec_of(names=("PPG", "ECG")), labels={"quality": {}})
    with pytest.raises(LeakageError, match="pretraining saw a test subject"):
        finetune(settings(data, encoder_run, tmp_path / "run"), QUIET)
    config = settings(data, encoder_run, tmp_path / "run", from_scratch=True, plan={"epochs": 1})
    finetune(config, QUIET)


def test_several_processes_are_refused_before_they_write_over_each_other(
    labelled: Path, encoder_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ConfigError, match="in one process, torchrun started 2"):
        finetune(settings(labelled, encoder_run, tmp_path / "run"), QUIET)
    assert not (tmp_path / "run").exists()
