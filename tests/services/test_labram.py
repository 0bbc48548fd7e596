"""Both stages of LaBraM by their commands, from the shipped configs."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.cli import run
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.engine.train import Training
from biosig_cli.services.run_facts import read_run
from tests.montages import montage_spec
from tests.stores import cut, write_store

NAMES = ("Fp1", "Cz", "O1", "O2")
SMALL = [
    *("--set", "model.width=16", "--set", "model.n_layers=1", "--set", "model.n_heads=2"),
    *("--set", "objectives.tokenizer.codebook.n_codes=16"),
]
QUICK = ["--device", "cpu", "--precision", "fp32", "--batch-size", "16", "--warmup-epochs", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of five people, with tones that change from second to second."""
    folder, number = tmp_path_factory.mktemp("eeg"), 0
    spec = montage_spec(NAMES)
    for split, n_people in {"train": 3, "val": 1, "test": 1}.items():
        records = []
        for _ in range(n_people):
            number += 1
            draw = np.random.default_rng(number)
            rates = np.repeat(draw.choice([4, 10, 18], size=(4, 40)), 100, axis=1)
            tones = np.sin(2 * np.pi * np.cumsum(rates, axis=1) / 100)
            signals = tones + 0.1 * draw.normal(size=tones.shape)
            records.append(cut(f"r{number}", f"s{number}", signals, spec, step_s=2.0))
        write_store(folder / split, records, spec)
    return folder


def did(*arguments: object) -> None:
    assert run([str(each) for each in arguments]) == 0


@pytest.fixture(scope="module")
def tokenizer(data: Path) -> Path:
    folder = data / "tokenizer"
    did(
        *("pretrain", "--config", "eeg_tokenizer", "--data-dir", data, "--output-dir", folder),
        *("--epochs", 4, "--lr", 2e-3, *SMALL, *QUICK),
    )
    return folder


def ask(data: Path, folder: Path, tokenizer: Path, *more: object) -> int:
    line = ["pretrain", "--config", "eeg_labram_multitask", "--init-from", tokenizer, *more]
    line += ["--data-dir", data, "--output-dir", folder, "--epochs", 3, "--lr", 2e-3, *QUICK]
    line += ["--set", "objectives.masked_codes.codebook.n_codes=16"]
    return run([str(each) for each in line])


@pytest.fixture(scope="module")
def codes(data: Path, tokenizer: Path) -> Path:
    folder = data / "codes"
    assert ask(data, folder, tokenizer) == 0
    return folder


def test_the_tokenizer_logs_how_much_of_the_codebook_is_in_use(tokenizer: Path) -> None:
    history = read_run(tokenizer).history
    assert {"val_codes_in_use", "val_codes_perplexity", "val_spectrum_mean"} <= set(history)
    assert len(history["val_codes_perplexity"]) == 4
    assert 1 < history["val_codes_perplexity"][-1] <= 16
    assert history["val_spectrum"][-1] < history["val_spectrum"][0]


def test_the_second_stage_holds_the_codes_and_knows_where_they_are_from(
    tokenizer: Path, codes: Path
) -> None:
    one, two = load_checkpoint(tokenizer), load_checkpoint(codes)
    vectors = one["decoder_state_dict"]["tokenizer.quantizer.codebook.vectors"]
    held = two["decoder_state_dict"]["masked_codes.tokenizer.quantizer.codebook.vectors"]
    assert torch.equal(vectors, held)
    assert two["model_config"] | {"init_from": None} == one["model_config"]
    assert [Path(run["checkpoint"]).name for run in two["lineage"]] == ["tokenizer"]
    history = read_run(codes).history
    assert {"val_accuracy", "val_accuracy_placed", "val_accuracy_chance"} <= set(history)
    assert history["val_cross_entropy"][-1] < history["val_cross_entropy"][0]


def test_both_go_on_to_the_same_weights_after_a_stop(
    data: Path, tokenizer: Path, codes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data / "stopped"
    close = Training._close_epoch

    def stop(self: Training, *told: object) -> bool:
        is_best = close(self, *told)
        if self.state.epoch == 2:
            raise KeyboardInterrupt
        return is_best

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_close_epoch", stop)
        assert ask(data, folder, tokenizer) == 130
    assert ask(data, folder, tokenizer, "--resume") == 0
    whole, resumed = load_checkpoint(codes), load_checkpoint(folder)
    for part in ("encoder_state_dict", "decoder_state_dict"):
        for name, tensor in whole[part].items():
            torch.testing.assert_close(
                resumed[part][name], tensor, rtol=0, atol=0, equal_nan=True, msg=name
            )


def test_without_a_tokenizer_it_says_how_to_make_one(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["pretrain", "--config", "eeg_labram_multitask", "--data-dir", str(data)]
    assert run([*line, "--output-dir", str(data / "nothing"), *QUICK, "--epochs", "1"]) == 2
    said = capsys.readouterr().err
    assert "no codes to ask for" in said
    assert "--init-from artifacts/eeg_tokenizer" in " ".join(said.split())
