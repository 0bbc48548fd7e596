"""An encoder that knows places is fine-tuned and probed on electrodes whose names it never met."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.catalog import load_encoder
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.services.evaluate import EvaluateConfig, evaluate
from biosig_cli.services.evaluate_models import find_pretrained, open_candidates
from biosig_cli.services.finetune import FinetuneConfig, finetune
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.tasks.classification import ClassificationConfig
from tests.montages import montage_spec, write_montage

QUIET = Reporter(silent=True)
OLD, NEW = ("Fz", "Cz", "Pz", "Oz"), ("E22", "E9", "E75")
QUICK = {"device": "cpu", "precision": "fp32"}
PLAN = {"epochs": 1, "batch_size": 16, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("montages")
    return write_montage(folder / "old", OLD, 0), write_montage(folder / "new", NEW, 50)


@pytest.fixture(scope="module")
def parent(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "run"
    settings = {
        "windows": stores[0],
        "output_dir": folder,
        "model": {"kind": "eeg", "width": 16, "n_layers": 1, "n_heads": 2},
        "objectives": {"masked_eeg": {}},
        "plan": PLAN,
    }
    pretrain(PretrainConfig.parse(settings | QUICK), QUIET)
    return folder


def test_all_weights_come_along_though_no_name_is_known(
    stores: tuple[Path, Path], parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "pretrained": str(parent),
        "data_dir": stores[1],
        "output_dir": tmp_path / "run",
        "task": {"kind": "classification", "label": "state"},
        "unfreeze_last_n": 0,
        "plan": PLAN,
    }
    finetune(FinetuneConfig.parse(config | QUICK), Reporter())
    assert "channels are known by where they sit" in capsys.readouterr().out
    before, after = (load_checkpoint(each) for each in (parent, tmp_path / "run"))
    for name, tensor in before["encoder_state_dict"].items():
        assert torch.equal(tensor, after["encoder_state_dict"][name]), name
    encoder = load_encoder(tmp_path / "run")
    assert encoder.spec.names == NEW
    frozen, why = find_pretrained(open_candidates([tmp_path / "run"])[0])
    assert frozen is not None, why
    signal = torch.randn(2, 3, 200)
    with torch.no_grad():
        torch.testing.assert_close(frozen.encoder(signal).tokens, encoder(signal).tokens)


def test_one_child_chooses_no_epoch_by_an_error_in_deviations(
    stores: tuple[Path, Path], parent: Path, tmp_path: Path
) -> None:
    task = {"kind": "regression", "label": "state", "level": "subject", "monitor": "nrmse"}
    config = {"pretrained": str(parent), "data_dir": stores[1], "output_dir": tmp_path / "run"}
    with pytest.raises(DataError, match="all validation subjects, of which there are 1") as error:
        finetune(FinetuneConfig.parse(config | {"task": task, "plan": PLAN} | QUICK), QUIET)
    assert "--monitor mae" in error.value.hint


def test_a_pretrained_encoder_is_probed_on_the_electrodes_that_there_are(
    stores: tuple[Path, Path], parent: Path, tmp_path: Path
) -> None:
    config = EvaluateConfig(
        checkpoint=(parent,),
        data_dir=stores[1],
        output_dir=tmp_path,
        task=ClassificationConfig(label="state"),
        folds=0,
        device="cpu",
    )
    evaluate(config, QUIET)
    found = json.loads((tmp_path / "test_metrics.json").read_text("utf-8"))
    assert found["data"]["channels"] == list(NEW)
    assert found["models"][0]["channels"] == list(NEW)
    assert [each["name"] for each in found["answers"]][:2] == [
        "run, frozen + linear probe",
        "random encoder, frozen + linear probe",
    ]


def test_windows_at_another_rate_are_refused(parent: Path) -> None:
    candidate = open_candidates([parent])[0]
    fast = montage_spec(NEW).model_copy(update={"sampling_hz": 250.0})
    with pytest.raises(ConfigError, match="trained on windows at 100 Hz, these are at 250 Hz"):
        candidate.fitted_to(fast)
    assert candidate.fitted_to(candidate.encoder.spec) is candidate


def test_a_head_has_the_electrodes_that_an_adapter_leaves(
    stores: tuple[Path, Path], tmp_path: Path
) -> None:
    adapter = {"kind": "select", "electrodes": ["Cz", "Fz"]}
    config = {
        "from_scratch": True,
        "model": {"kind": "eeg", "width": 16, "n_layers": 1, "n_heads": 2, "adapter": adapter},
        "data_dir": stores[0],
        "output_dir": tmp_path / "run",
        "task": {"kind": "classification", "label": "state"},
        "plan": PLAN,
    }
    finetune(FinetuneConfig.parse(config | QUICK), QUIET)
    (model,) = open_candidates([tmp_path / "run"])
    assert model.head is not None
    with torch.no_grad():
        tokens = model.encoder(torch.randn(3, 4, 200)).tokens
        assert tokens.shape[1] == 2
        assert model.head(tokens).shape == (3, 2)
