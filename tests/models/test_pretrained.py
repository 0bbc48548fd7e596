"""Weights to start from: any of our encoders by name."""

from pathlib import Path

import pytest
import torch

from biosig_cli.core.errors import CheckpointError
from biosig_cli.engine.checkpoint import BEST, save_checkpoint
from biosig_cli.models import pretrained
from biosig_cli.models.base import ModelConfig
from biosig_cli.models.ppg_autoencoder import PpgAutoencoderConfig
from biosig_cli.models.pretrained import Trained, find_weights
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.signal.spec import Channel, SignalSpec

SPEC = SignalSpec(channels=(Channel(name="PPG", kind="ppg"),), sampling_hz=125, n_samples=64)
AUTOENCODER = PpgAutoencoderConfig(width=8, hidden=8)
TTM = TtmConfig(context_length=64, patch_size=8, width=8, n_layers=1, n_levels=0)


def write(folder: Path, model: ModelConfig, **changed: object) -> Path:
    content = {
        "encoder_state_dict": model.build(SPEC).state_dict(),  # type: ignore[attr-defined]
        "model_config": model.dump() | changed,
        "spec": SPEC.dump(),
        "data": {"train": {"digest": "d", "subjects": ["p1"]}},
    }
    folder.mkdir()
    save_checkpoint(folder / BEST, content)
    return folder


@pytest.mark.parametrize("model", [TTM, AUTOENCODER], ids=["ttm", "ppg_autoencoder"])
def test_a_run_of_any_family_is_found_and_fills_another(tmp_path: Path, model: ModelConfig) -> None:
    run = write(tmp_path / "run", model)
    found = find_weights(str(run))
    assert isinstance(found, Trained)
    assert (found.config, found.spec.names) == (model, ("PPG",))
    assert found.lineage[-1]["data"]["train"]["subjects"] == ["p1"]
    encoder = found.config.build(SPEC)
    found.load_into(encoder)
    saved = torch.load(run / BEST, weights_only=True)["encoder_state_dict"]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in encoder.state_dict().items())


def test_what_an_encoder_was_told_of_people_is_known(tmp_path: Path) -> None:
    heads = {"age": {"column": None}, "score": {"column": "p_factor"}}
    for weight, told in ((0.1, ("age", "p_factor")), (0.0, ())):
        objectives = {"auxiliary": {"weight": weight, "heads": heads}, "masked": None}
        content = {"config": {"objectives": objectives}}
        assert pretrained.told_of_people(content) == told
    assert pretrained.told_of_people({}) == ()
    assert find_weights(str(write(tmp_path / "run", TTM))).told == ()


def test_a_family_that_is_not_known_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", TTM, kind="seer")
    with pytest.raises(
        CheckpointError, match="a model of kind 'seer' that can't be built"
    ) as error:
        find_weights(str(run))
    assert "newer version" in error.value.hint


def test_a_run_that_is_not_there_is_not_asked_of_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "fetch_from_hub", lambda *_: pytest.fail("asked a hub"))
    with pytest.raises(CheckpointError, match="no run at artifacts/pretrain") as error:
        find_weights("artifacts/pretrain")
    assert "biosig pretrain --output-dir artifacts/pretrain" in error.value.hint
