"""What a fine-tuning starts from: a head that knows the line at once, an encoder of any family."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from biosig_cli.catalog import load_encoder
from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import WindowStore, open_split
from biosig_cli.engine.checkpoint import BEST, load_checkpoint, save_checkpoint
from biosig_cli.models.heads import HeadConfig, LinearHead
from biosig_cli.models.ppg_autoencoder import PpgAutoencoder, PpgAutoencoderConfig
from biosig_cli.models.pretrained import find_weights
from biosig_cli.services.evaluate import EvaluateConfig, evaluate
from biosig_cli.services.evaluate_models import open_candidates, random_twin
from biosig_cli.services.evaluate_reconstruction import open_objective
from biosig_cli.services.finetune import FinetuneConfig, finetune
from biosig_cli.services.finetune_start import find_parent, start_head
from biosig_cli.services.inflate import InflateConfig, inflate
from biosig_cli.tasks.classification import ClassificationConfig
from biosig_cli.tasks.examples import Examples, find_examples
from biosig_cli.tasks.kinds import AnyTask
from biosig_cli.tasks.regression import RegressionConfig
from tests.services.test_finetune import settings
from tests.stores import spec_of

QUIET = Reporter(silent=True)
PAIR = ("PPG", "ECG")


def started(
    task: AnyTask, encoder_run: Path, store: WindowStore, examples: Examples
) -> tuple[nn.Module, torch.Tensor]:
    """Return a head that was started on the examples, and what it says of them then."""
    torch.manual_seed(0)
    encoder = load_encoder(encoder_run)
    head = task.head.build(2, encoder.width, task.n_outputs).eval()
    start_head(head, find_weights(str(encoder_run)), encoder, task, store, examples)
    with torch.no_grad():
        tokens = encoder(torch.from_numpy(store.read(examples.row))).tokens
        return head, task.answers(head(tokens))


def test_a_head_starts_as_the_line_that_tells_classes_apart(
    labelled: Path, encoder_run: Path
) -> None:
    store = open_split(labelled, "train", channels=PAIR)
    examples = find_examples(store, "quality", classes=(0, 1))
    for kind, least in (("linear", 0.95), ("mlp", None)):
        task = ClassificationConfig(classes=(0, 1), head=HeadConfig.parse({"kind": kind}))
        _, answer = started(task, encoder_run, store, examples)
        correct = (answer.argmax(dim=1).numpy() == examples.target).mean()
        assert (correct >= least) if least else (correct < 0.95), f"{kind}: {correct}"


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_classes_are_weighted_at_the_start_as_they_are_later(
    labelled: Path, encoder_run: Path, class_weights: str
) -> None:
    store = open_split(labelled, "train", channels=PAIR)
    examples = find_examples(store, "quality", classes=(0, 1))
    # A fifth of the windows are of class 1; their labels have nothing to do with them.
    draw = np.random.default_rng(1)
    target = draw.permutation(np.arange(len(examples)) % 5 == 0).astype(float)
    examples = Examples(**{**vars(examples), "target": target})
    task = ClassificationConfig.parse({"classes": [0, 1], "class_weights": class_weights})
    _, answer = started(task, encoder_run, store, examples)
    said = answer[:, 1].mean().item()
    if class_weights == "none":
        assert said == pytest.approx(0.2, abs=0.01), "as often as it is there"
    else:
        assert said > 0.3


def test_values_start_on_their_own_scale(labelled: Path, encoder_run: Path) -> None:
    store = open_split(labelled, "train", channels=PAIR)
    examples = find_examples(store, "hr", classes=None)
    task = RegressionConfig().settle(examples.target, {})
    head, answer = started(task, encoder_run, store, examples)
    assert isinstance(head, LinearHead)
    assert answer.mean().item() == pytest.approx(72, abs=0.5), "the mean of the labels"
    assert np.abs(answer.numpy() - examples.target).mean() < np.abs(examples.target - 72).mean()


def test_a_head_that_reads_the_rhythm_needs_one_that_was_asked_for_it(
    labelled: Path, encoder_run: Path
) -> None:
    store = open_split(labelled, "train", channels=PAIR)
    examples = find_examples(store, "quality", classes=(0, 1))
    task = ClassificationConfig(classes=(0, 1), head=HeadConfig(kind="rhythm"))
    with pytest.raises(CheckpointError, match="not asked for the rhythm") as error:
        started(task, encoder_run, store, examples)
    assert "--head linear" in error.value.hint


def test_without_a_run_at_the_usual_place_it_is_said_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no run at artifacts/pretrain") as error:
        find_parent(FinetuneConfig())
    for remedy in ("biosig pretrain", "--pretrained", "--from-scratch"):
        assert remedy in error.value.hint
    assert find_parent(FinetuneConfig(from_scratch=True)) is None


@pytest.fixture(scope="session")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that holds a PPG autoencoder of windows of 20 s."""
    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    folder.mkdir()
    spec = spec_of(names=("PPG",), duration_s=20.0)
    model = PpgAutoencoderConfig(width=8, hidden=16)
    torch.manual_seed(0)
    content: dict[str, Any] = {
        "epoch": 1,
        "metrics": {},
        "encoder_state_dict": model.build(spec).state_dict(),
        "model_config": model.dump(),
        "spec": spec.dump(),
        "config": {"seed": 0},
        "data": {},
    }
    save_checkpoint(folder / BEST, content)
    return folder


def test_an_autoencoder_is_fine_tuned_and_judged_like_every_encoder(
    labelled: Path, autoencoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: dict[str, Any] = {"channels": ["PPG"], "full_finetune": True, "new_lr": 0.01}
    result = finetune(settings(labelled, autoencoder, tmp_path / "run", **more), Reporter())
    said = capsys.readouterr().out
    assert "ppg_autoencoder" in said
    assert "the same for every channel" in said
    assert "channel mixer" not in said, "it has none"
    content = load_checkpoint(tmp_path / "run")
    assert content["model_config"]["kind"] == "ppg_autoencoder"
    assert content["spec"]["n_samples"] == 1250, "it takes windows of any length"
    assert result.train.best is not None
    assert result.train.best > 0.9
    asked = {"checkpoint": [tmp_path / "run"], "device": "cpu", "folds": 0, "n_resamples": 20}
    metrics = evaluate(EvaluateConfig.parse(asked), QUIET)
    names = [each["name"] for each in metrics.metrics["answers"]]
    assert names[:3] == [
        "run",
        "pretrained, frozen + linear probe",
        "random encoder, frozen + linear probe",
    ]


def test_an_autoencoder_may_start_from_random_weights(labelled: Path, tmp_path: Path) -> None:
    config = FinetuneConfig.parse(
        {
            "data_dir": labelled,
            "output_dir": tmp_path / "run",
            "from_scratch": True,
            "channels": ["PPG"],
            "model": {"kind": "ppg_autoencoder", "width": 8, "hidden": 16},
            "plan": {"epochs": 1},
            "device": "cpu",
        }
    )
    finetune(config, QUIET)
    assert type(load_encoder(tmp_path / "run")).__name__ == "PpgAutoencoder"


def test_other_channels_are_no_news_to_an_encoder_that_treats_them_alike(
    autoencoder: Path, tmp_path: Path
) -> None:
    config = InflateConfig(checkpoint=autoencoder, channels=PAIR, output=tmp_path / "two")
    report = inflate(config, QUIET).report
    assert {each["how"] for each in report["channels"]} == {"the same for every channel"}
    assert set(report["counts"]) == {"copied"}


def test_what_was_inflated_has_a_twin_and_is_told_what_it_lacks(
    autoencoder: Path, tmp_path: Path
) -> None:
    two = tmp_path / "two"
    inflate(InflateConfig(checkpoint=autoencoder, channels=PAIR, output=two), QUIET)
    twin = random_twin(open_candidates([two])[0], seed=0)
    assert isinstance(twin, PpgAutoencoder)
    assert twin.spec.names == PAIR
    task = ClassificationConfig()
    with pytest.raises(ConfigError, match="not said which windows"):
        evaluate(EvaluateConfig(checkpoint=(two,), device="cpu", task=task), QUIET)
    with pytest.raises(CheckpointError, match="holds no decoder"):
        evaluate(EvaluateConfig(checkpoint=(two,), device="cpu"), QUIET)


def test_a_question_that_draws_nothing_is_named() -> None:
    content = {
        "config": {"objectives": {"masked_eeg": {"weight": 1.0}, "masked": None}},
        "decoder_state_dict": {"masked_eeg.decoder.bias": torch.zeros(3)},
    }
    model = SimpleNamespace(path=Path("run/best_model.pt"), content=content)
    with pytest.raises(CheckpointError, match="asked for masked_eeg, which draws no win") as error:
        open_objective(model)  # type: ignore[arg-type]
    assert "--label NAME" in error.value.hint


def test_windows_at_another_rate_are_refused(labelled: Path, autoencoder: Path) -> None:
    content = load_checkpoint(autoencoder)
    slow = autoencoder.parent / "slow"
    slow.mkdir()
    spec = content["spec"] | {"sampling_hz": 64.0}
    save_checkpoint(slow / BEST, content | {"spec": spec})
    with pytest.raises(ConfigError, match="at 64 Hz, these are at 125 Hz"):
        finetune(settings(labelled, slow, autoencoder.parent / "x", channels=["PPG"]), QUIET)
