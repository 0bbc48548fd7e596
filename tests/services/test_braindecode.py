"""A model of braindecode is trained on labels and scored; what it can't do is refused."""

import json

import pytest

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.catalog import load_encoder
from biosig_cli.cli import run
from biosig_cli.models.braindecode import BraindecodeEncoder
from tests.montages import montage_spec, write_montage
from tests.other_models import stand_in_for_braindecode

NAMES = ("Fz", "Cz", "Pz", "Oz")
QUICK = ["--device", "cpu", "--precision", "fp32", "--epochs", "1"]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    stand_in_for_braindecode(monkeypatch)
    monkeypatch.setattr("biosig_cli.services.evaluate.write_evaluation_page", lambda *_, **__: None)
    monkeypatch.setattr("biosig_cli.services.evaluate.gather_material", lambda *_, **__: None)


@pytest.fixture
def store(tmp_path):
    return write_montage(tmp_path / "windows", NAMES, 0)


def said(capsys, *arguments):
    code = run([str(each) for each in arguments])
    told = capsys.readouterr()
    return code, " ".join((told.out + told.err).split())


def fine_tune(capsys, store, folder, *more):
    asked = ("finetune", "--data-dir", store, "--output-dir", folder, "--label", "state", *QUICK)
    return said(capsys, *asked, *more)


def test_it_is_trained_on_labels_and_scored_beside_the_baselines(tmp_path, store, capsys):
    folder = tmp_path / "run"
    scratch = ("--from-scratch", "--set", "model.kind=braindecode:Net")
    code, told = fine_tune(capsys, store, folder, *scratch)
    assert code == 0
    assert "braindecode:Net" in told
    assert "- **Family**: braindecode:Net" in (folder / "MODEL_CARD.md").read_text("utf-8")
    encoder = load_encoder(folder)
    assert isinstance(encoder, BraindecodeEncoder)
    assert encoder.spec.names == montage_spec(NAMES).names
    code, _ = said(capsys, "evaluate", "--checkpoint", folder, "--folds", "0", "--device", "cpu")
    assert code == 0
    found = json.loads((folder / "test_metrics.json").read_text("utf-8"))
    names = [answer["name"] for answer in found["answers"]]
    assert {"run", "random encoder, frozen + linear probe", "majority"} <= set(names)


def test_an_answer_in_time_and_hidden_patches_are_refused(tmp_path, store, capsys):
    model = ("--set", "model.kind=braindecode:Net")
    temporal = ("--task", "regression", "--set", "task.head={kind: temporal, span_s: [0, 2]}")
    scratch = ("--from-scratch", *model, *temporal)
    code, told = fine_tune(capsys, store, tmp_path / "time", *scratch)
    assert code == 2
    assert "this encoder makes one token of all" in told
    asked = ("pretrain", "--data-dir", store, "--output-dir", tmp_path / "hidden", *QUICK, *model)
    code, told = said(capsys, *asked, "--set", "objectives={masked_eeg: {}}")
    assert code == 2
    assert "nothing can be hidden from braindecode:Net" in told


def test_what_was_pretrained_takes_its_own_channels(tmp_path, store, capsys):
    parent = tmp_path / "parent"
    objectives = "objectives={auxiliary: {heads: {state: {kind: classification}}}}"
    asked = ("pretrain", "--data-dir", store, "--output-dir", parent, *QUICK)
    code, told = said(capsys, *asked, "--set", "model.kind=braindecode:Net", "--set", objectives)
    assert code == 0, told
    start = ("--pretrained", parent, "--unfreeze-last-n", "1")
    code, told = fine_tune(capsys, store, tmp_path / "own", *start)
    assert (code, "tensors copied" in told) == (0, True), told
    other = ("--channels", "Cz,Fz,Pz,Oz")
    code, told = fine_tune(capsys, store, tmp_path / "other", *start, *other)
    assert code == 4
    assert "takes Fz, Cz, Pz, Oz, and no other channels" in told
