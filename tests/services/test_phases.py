"""A run of several phases: weights pass on, what rests is untouched, a killed run goes on."""

import json
from pathlib import Path

import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.errors import ConfigError, InterruptedRunError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.engine.train import Training
from biosig_cli.models.pretrained import Trained
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.base import Objective
from biosig_cli.services.phases import one_after_the_other
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.run_facts import find_runs, read_run
from tests.stores import spec_of

QUIET = Reporter(silent=True)
SMALL = {"width": 16, "n_layers": 1, "n_levels": 1}


def settings(windows: Path, folder: Path) -> dict:
    return {
        "windows": windows,
        "output_dir": folder,
        "model": SMALL,
        "device": "cpu",
        "precision": "fp32",
        "max_windows": 48,
        "plan": {"epochs": 2, "batch_size": 16, "lr": 1e-3, "warmup_epochs": 0},
        "phases": {
            "masked": {"objectives": {"masked": {"mask_ratio": 0.5}}},
            "again": {"move": {"frozen_epochs": 1}, "plan": {"lr": 5e-4}},
            "rhythm": {"objectives": {"rhythm": {}}, "plan": {"epochs": 1}},
        },
    }


@pytest.fixture(scope="module")
def finished(windows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phases") / "run"
    pretrain(PretrainConfig.parse(settings(windows, folder)), QUIET)
    return folder


def weights_of(folder: Path, name: str = "best_model.pt") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / name)["encoder_state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_phase_says_only_what_is_its_own(windows: Path, tmp_path: Path) -> None:
    config = PretrainConfig.parse(settings(windows, tmp_path))
    again = config.phases["again"]
    assert (again.plan.epochs, again.plan.batch_size, again.plan.lr) == (2, 16, 5e-4)
    assert again.windows == config.windows
    assert again.objectives == config.objectives
    assert config.phases["masked"].objectives.masked.mask_ratio == 0.5
    assert config.phases["rhythm"].objectives.masked is None
    assert PretrainConfig.parse(config.dump()) == config


def test_each_phase_is_a_run_and_the_last_ones_weights_are_the_runs(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"1_masked", "2_again", "3_rhythm", "best_model.pt", "history.png"} <= names
    assert same(weights_of(finished), weights_of(finished / "3_rhythm"))
    assert load_encoder(finished).spec.names == ("PPG", "ECG")
    content = load_checkpoint(finished)
    assert [Path(run["checkpoint"]).name for run in content["lineage"]] == ["1_masked", "2_again"]
    assert content["parent"]["source"] == str(finished / "2_again")


def test_an_encoder_that_rests_is_untouched_and_starts_where_the_last_phase_ended(
    finished: Path, windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig.parse(settings(windows, tmp_path / "run"))
    seen = []
    enter = Training.enter

    def watched(training: Training, number: int) -> None:
        enter(training, number)
        state = training.trainable.encoder.state_dict()
        seen.append({name: tensor.clone() for name, tensor in state.items()})

    monkeypatch.setattr(Training, "enter", watched)
    pretrain(config, QUIET)
    masked, frozen, free, rhythm = seen
    assert same(frozen, weights_of(tmp_path / "run" / "1_masked"))
    assert same(free, frozen)
    assert not same(rhythm, free)
    assert same(rhythm, weights_of(tmp_path / "run" / "2_again"))
    assert not same(masked, frozen)
    # And the same as the run that nobody watched.
    assert same(weights_of(tmp_path / "run"), weights_of(finished))


def test_an_objective_that_was_asked_before_goes_on_with_what_it_learned(
    finished: Path, windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    quick = {"epochs": 1, "batch_size": 64, "lr": 1e-12, "min_lr": 0, "warmup_epochs": 0}
    single = settings(windows, folder) | {"phases": {}, "plan": quick}
    model = SMALL | {"init_from": str(finished / "1_masked")}
    pretrain(PretrainConfig.parse(single | {"model": model}), Reporter())
    assert "asks (masked)" in capsys.readouterr().out
    before, after = (
        load_checkpoint(each)["decoder_state_dict"] for each in (finished / "1_masked", folder)
    )
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


def test_what_is_not_asked_again_is_dropped_and_said(
    finished: Path, windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = settings(windows, tmp_path / "run") | {
        "phases": {},
        "plan": {"epochs": 1, "batch_size": 64, "warmup_epochs": 0},
        "objectives": {"rhythm": {}},
        "model": SMALL | {"init_from": str(finished / "1_masked")},
    }
    pretrain(PretrainConfig.parse(single), Reporter())
    (said,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("not asked again"))
    assert said.split()[3] == "masked"
    kept = {
        name.partition(".")[0] for name in load_checkpoint(tmp_path / "run")["decoder_state_dict"]
    }
    assert kept == {"rhythm"}


class Question(Objective):
    def __init__(self, n_inputs):
        super().__init__()
        self.answer = torch.nn.Linear(n_inputs, 3)

    def forward(self, encoder, batch):
        raise AssertionError("not asked here")


def test_a_question_of_another_shape_is_asked_anew() -> None:
    head = {"ask.answer.weight": torch.zeros(3, 3), "ask.answer.bias": torch.zeros(3)}
    spec = spec_of()
    weights = Trained(TtmConfig(), {}, spec, "a run", "", decoder=head)
    other = Question(4)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert other.take_over("ask", weights) == "2 tensors, not shaped like those of a run"
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    assert other.take_over("another", weights) == other.take_over("ask", None) == ""
    same_shape = Question(3)
    assert same_shape.take_over("ask", weights) == "all 2 tensors of a run"
    assert not same_shape.answer.weight.any()


def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    finished: Path, windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig.parse(settings(windows, tmp_path / "run"))
    fit = Training.fit
    n_fits = 0

    def stopped(training: Training, **how: object) -> object:
        nonlocal n_fits
        n_fits += 1
        return fit(training, stop_after=1 if n_fits == 2 else None)

    monkeypatch.setattr(Training, "fit", stopped)
    with pytest.raises(InterruptedRunError) as caught:
        pretrain(config, QUIET)
    assert caught.value.hint is not None
    assert f"--output-dir {tmp_path / 'run'} --resume" in caught.value.hint
    run = read_run(tmp_path / "run")
    assert run.state == "unfinished"
    with pytest.raises(ConfigError, match="holds a run"):
        pretrain(config, QUIET)
    monkeypatch.setattr(Training, "fit", fit)
    pretrain(config, QUIET, resume=True)
    assert same(weights_of(tmp_path / "run"), weights_of(finished))
    assert read_run(tmp_path / "run").state == "finished"


def test_a_finished_run_is_left_as_it_is(finished: Path, windows: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("last_model.pt")}
    pretrain(PretrainConfig.parse(settings(windows, finished)), QUIET, resume=True)
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("last_model.pt")}


def test_other_settings_are_refused_with_what_differs(finished: Path, windows: Path) -> None:
    changed = settings(windows, finished)
    changed["phases"]["again"]["plan"] = {"lr": 1e-4}
    with pytest.raises(ConfigError, match=r"phases.again.plan.lr: 0.0005 then, 0.0001 now"):
        pretrain(PretrainConfig.parse(changed), QUIET, resume=True)


def test_runs_tell_of_the_whole_and_of_each_phase(finished: Path) -> None:
    runs = {run.folder.name: run for run in find_runs(finished)}
    assert set(runs) == {"run", "1_masked", "2_again", "3_rhythm"}
    whole = runs["run"]
    assert (whole.n_epochs, whole.n_planned, whole.best_epoch) == (5, 5, 5)
    assert whole.manifest["phases"][1]["folder"] == "2_again"
    history = json.loads((finished / "training_history.json").read_text("utf-8"))
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert history["phase"] == [1, 1, 2, 2, 3]
    assert history["val_msm"][4] is None
    assert history["val_rhythm"][:4] == [None] * 4


def test_histories_are_set_one_after_the_other() -> None:
    joined = one_after_the_other([{"epoch": [1, 2], "a": [3.0, 4.0]}, {"epoch": [1], "b": [None]}])
    assert joined["epoch"] == [1, 2, 3]
    assert joined["phase"] == [1, 1, 2]
    assert joined["a"][:2] == [3.0, 4.0]
    assert str(joined["a"][2]) == str(joined["b"][0]) == "nan"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"phases": {"Bad name": {}}}, "String should match pattern"),
        ({"phases": {"a": {"epochs": 3}}}, "unknown key"),
        ({"objectives": {"masked": {"weight": 0}}}, "nothing is asked"),
        ({"windows": []}, "at least 1 item"),
        ({"windows": [{"store": "a", "share": 0.7}, {"store": "b"}]}, "b has no share"),
    ],
)
def test_what_makes_no_sense_is_refused(windows: Path, change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PretrainConfig.parse({"windows": windows} | change)
