"""What is exported says what the model says, or nothing is left of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from biosig_cli.catalog import load_encoder
from biosig_cli.cli import run
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint
from biosig_cli.models.heads import pool
from biosig_cli.services import export_onnx
from biosig_cli.services.evaluate_models import open_candidate
from biosig_cli.services.export_model import Exported
from tests.services.test_predict import tuned

__all__ = ["tuned"]


def export(checkpoint: Path, output: Path, *rest: object) -> int:
    words = ["export", "--checkpoint", checkpoint, "--output", output, *rest]
    return run([str(word) for word in words])


def some(windows: Path, n: int = 5) -> np.ndarray:
    store = open_split(windows, "test")
    return store.read(np.arange(n)).astype(np.float32)


def vectors(encoder, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        tokens = encoder(torch.from_numpy(signal)).tokens
    return tokens.numpy(), pool(tokens).numpy()


@pytest.mark.parametrize("form", ["safetensors", "hf"])
def test_folder_is_read_back_as_the_same_encoder(
    form: str, encoder_run: Path, windows: Path, tmp_path: Path
) -> None:
    assert export(encoder_run, tmp_path / "out", windows, "--format", form) == 0
    signal = some(windows)
    expected = vectors(load_encoder(encoder_run), signal)
    found = vectors(load_encoder(tmp_path / "out"), signal)
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
    before, now = load_checkpoint(encoder_run), load_checkpoint(tmp_path / "out")
    assert now["data"] == before["data"]
    assert now["recipe"] == before["recipe"]
    assert set(now["decoder_state_dict"]) == set(before["decoder_state_dict"])


def test_fine_tuned_folder_predicts_what_the_run_predicts(tuned: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run_folder, windows = tuned / "classification", tuned / "windows"
    assert export(run_folder, tmp_path / "out", "--format", "hf") == 0
    for name, folder in (("a", run_folder), ("b", tmp_path / "out")):
        output = tmp_path / f"{name}.parquet"
        words = ["predict", "--checkpoint", folder, "--output", output, windows]
        assert run([str(word) for word in words]) == 0
    one, other = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    assert one.equals(other)


def test_backbone_in_the_folder_is_one_of_transformers(
    encoder_run: Path, windows: Path, tmp_path: Path
) -> None:
    from tsfm_public.models.tinytimemixer import TinyTimeMixerModel

    assert export(encoder_run, tmp_path / "out", windows, "--format", "hf") == 0
    loaded, report = TinyTimeMixerModel.from_pretrained(
        tmp_path / "out",
        key_mapping={r"^backbone\.": ""},
        local_files_only=True,
        output_loading_info=True,
    )
    assert report["missing_keys"] == []
    own = load_encoder(encoder_run).backbone
    signal = torch.from_numpy(some(windows)).transpose(1, 2)
    with torch.no_grad():
        one, other = (each.eval()(signal).last_hidden_state for each in (loaded, own))
    assert torch.equal(one, other)
    assert "TinyTimeMixerModel.from_pretrained" in (tmp_path / "out/README.md").read_text("utf-8")


def test_exported_folder_is_a_start_for_training(
    encoder_run: Path, windows: Path, tmp_path: Path
) -> None:
    from biosig_cli.models.pretrained import find_weights

    assert export(encoder_run, tmp_path / "out", windows, "--format", "hf") == 0
    found = find_weights(str(tmp_path / "out"))
    expected = load_checkpoint(encoder_run)["encoder_state_dict"]
    assert all(torch.equal(found.encoder[name], tensor) for name, tensor in expected.items())
    assert found.spec.names == ("PPG", "ECG")


def test_damaged_weights_are_refused(
    encoder_run: Path, windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(encoder_run, tmp_path / "out", windows, "--format", "safetensors") == 0
    file = tmp_path / "out/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert run(["embed", "--checkpoint", str(tmp_path / "out"), str(windows)]) == 4
    assert "is not the file" in capsys.readouterr().err


def test_json_says_what_the_file_expects(encoder_run: Path, windows: Path, tmp_path: Path) -> None:
    assert export(encoder_run, tmp_path / "out", windows, "--format", "safetensors") == 0
    facts = json.loads((tmp_path / "out/biosig.json").read_text("utf-8"))
    assert facts["input"]["shape"] == ["batch", 2, 1250]
    assert [each["name"] for each in facts["input"]["channels"]] == ["PPG", "ECG"]
    assert facts["input"]["sampling_hz"] == 125
    assert any("0.5 to 10 Hz" in step for step in facts["preprocessing"])
    assert "MODEL_CARD.md" in {path.name for path in (tmp_path / "out").iterdir()}
    names = set(load_file(tmp_path / "out/model.safetensors"))
    assert {"channel_embedding", "mask_token"} <= names


def test_windows_of_the_training_are_used_or_asked_for(
    encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = load_checkpoint(encoder_run)
    content["config"]["windows"] = [{"store": str(tmp_path / "gone")}]
    save_checkpoint(tmp_path / "run/best_model.pt", content)
    assert export(tmp_path / "run", tmp_path / "out", "--format", "hf") == 2
    assert "biosig export --checkpoint RUN RECORDINGS" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_an_export_is_written_over(
    encoder_run: Path, windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years", "utf-8")
    assert export(encoder_run, tmp_path / "mine", windows, "--format", "hf") == 2
    assert "holds no export" in capsys.readouterr().err
    assert (tmp_path / "mine/thesis.txt").exists()
    for form in ("safetensors", "hf"):
        assert export(encoder_run, tmp_path / "out", windows, "--format", form) == 0
    assert not (tmp_path / "out/MODEL_CARD.md").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_int8_is_of_onnx(
    encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(encoder_run, tmp_path / "out", "--format", "hf", "--int8") == 2
    assert "--format onnx" in capsys.readouterr().err


def test_without_the_extra_the_install_line_is_said(
    encoder_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert export(encoder_run, tmp_path / "out") == 2
    assert "pip install 'biosig[onnx]'" in capsys.readouterr().err


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    return pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")


def test_onnx_says_what_torch_says_of_any_number_of_windows(
    onnxruntime, encoder_run: Path, windows: Path, tmp_path: Path
) -> None:
    assert export(encoder_run, tmp_path / "out", "--int8") == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "out/model.onnx"))
    for n in (1, 4):
        tokens, embedding = session.run(["tokens", "embedding"], {"signal": some(windows, n)})
        expected = vectors(load_encoder(encoder_run), some(windows, n))
        np.testing.assert_allclose(tokens, expected[0], atol=1e-4)
        np.testing.assert_allclose(embedding, expected[1], atol=1e-4)
    stated = json.loads(session.get_modelmeta().custom_metadata_map["biosig"])
    facts = json.loads((tmp_path / "out/biosig.json").read_text("utf-8"))
    assert stated["input"] == facts["input"]
    assert facts["checked"]["largest_difference"]["tokens"] < 1e-4
    assert 0 < facts["int8"]["difference"]["embedding"]["largest"] < 1
    assert facts["int8"]["figures"] is None
    assert {"torch", "onnxruntime"} <= set(facts["ms_per_window"])


def test_loss_by_int8_is_measured_on_labels(onnxruntime, tuned: Path, tmp_path: Path) -> None:
    run_folder, windows = tuned / "classification", tuned / "windows"
    assert export(run_folder, tmp_path / "out", windows, "--int8") == 0
    facts = json.loads((tmp_path / "out/biosig.json").read_text("utf-8"))
    assert facts["int8"]["labelled"].endswith("test")
    assert facts["int8"]["n_labelled"] == len(open_split(windows, "test"))
    model = open_candidate(run_folder / "best_model.pt", "m")
    signal = some(windows, len(open_split(windows, "test")))
    expected = export_onnx.ask_torch(Exported(model).eval(), signal)["answer"]
    target = open_split(windows, "test").column("label_fast")
    figures = model.task.score(target.astype(float), expected.astype(float))
    assert facts["int8"]["figures"]["auroc"]["float32"] == pytest.approx(figures["auroc"])


def test_file_that_says_something_else_is_not_kept(
    onnxruntime,
    encoder_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "kept").mkdir()
    shutil.copy(encoder_run / "best_model.pt", tmp_path / "kept")
    monkeypatch.setattr(export_onnx, "LIMIT", 0.0)
    assert export(encoder_run, tmp_path / "out") == 4
    assert "differs from torch" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
