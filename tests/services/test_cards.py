"""Cards say what the records say, escape what comes from data, and own up to what is not known."""

import json
import shutil
from pathlib import Path

import pytest

from biosig_cli.cli import run
from biosig_cli.core.artifacts import sha256
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint
from biosig_cli.report.cards import figure, text
from biosig_cli.services.dataset_card import write_dataset_card
from biosig_cli.services.model_card import write_model_card
from biosig_cli.services.training import describe_data
from tests.services.conftest import write_labelled


def test_pretraining_ends_with_a_card(encoder_run: Path) -> None:
    card = (encoder_run / "MODEL_CARD.md").read_text("utf-8")
    manifest = json.loads((encoder_run / "manifest.json").read_text("utf-8"))
    digest = sha256(encoder_run / "best_model.pt")
    content = load_checkpoint(encoder_run)
    train = content["data"]["train"]
    assert digest in card
    assert f"| this model | train | {train['n_windows']} | {len(train['subjects'])} |" in card
    assert ".vital files | not stated by the source" in card
    assert f"| plan.lr | {content['config']['plan']['lr']:.6g} |" in card
    assert f"**Device**: {manifest['device']}" in card
    assert "On people it never saw: not recorded." in card
    assert "No evaluation on people it never saw is recorded." in card
    assert "0.5 to 10 Hz" in card
    # A card is for others: no path of this disk, and nobody's id.
    assert str(encoder_run) not in card
    assert str(encoder_run.parents[1]) not in card


def test_card_of_a_bare_checkpoint_says_what_is_not_recorded(
    encoder_run: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(encoder_run)
    for key in ("recipe", "data", "biosig_version"):
        content.pop(key)
    save_checkpoint(tmp_path / "best_model.pt", content)
    card = write_model_card(tmp_path, tmp_path / "card.md").read_text("utf-8")
    assert "**Device**: not recorded" in card
    assert "biosig not recorded" in card
    assert "raw recordings can't be given to it" in card
    assert "None" not in card
    assert "nan" not in card.lower()


def test_card_of_a_model_says_how_old_its_people_were(encoder_run: Path, tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "labelled")
    stores = {split: open_split(folder, split) for split in ("train", "val")}
    content = load_checkpoint(encoder_run) | {"data": describe_data(stores)}
    save_checkpoint(tmp_path / "best_model.pt", content)
    card = write_model_card(tmp_path, tmp_path / "card.md").read_text("utf-8")
    n_windows = len(stores["train"])
    assert f"| this model | train | {n_windows} | 5 | 30 (20 to 40), 5 | 3 F, 2 M |" in card


def test_inflating_writes_a_card(encoder_run: Path, tmp_path: Path) -> None:
    words = ["inflate", "--checkpoint", encoder_run, "--channels", "PPG,ECG,ACC_X"]
    assert run([*map(str, words), "--output", str(tmp_path / "five")]) == 0
    assert "ACC\\_X" in (tmp_path / "five/MODEL_CARD.md").read_text("utf-8")


METRICS = {
    "task": {"kind": "regression", "label": "hr", "level": "window", "primary": "mae", "unit": "b"},
    "data": {"split": "test", "n_windows": 30, "n_subjects": 3},
    "notices": ["3 test subjects are few <b>"],
    "answers": [
        {
            "name": "mine",
            "levels": {"window": {"mae": {"value": 8.25, "low": 7.0, "high": 9.5}}},
            "difference": None,
        }
    ],
    "cross_validation": None,
}


def test_results_are_those_of_this_very_checkpoint(encoder_run: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(encoder_run, tmp_path / "run")
    for digest, is_there in ((sha256(run_folder / "best_model.pt"), True), ("other", False)):
        metrics = METRICS | {"models": [{"sha256": digest}]}
        (run_folder / "test_metrics.json").write_text(json.dumps(metrics), "utf-8")
        card = write_model_card(run_folder, tmp_path / "card.md").read_text("utf-8")
        assert ("| mine | 8.250 (7.000 to 9.500) |" in card) is is_there
        assert ("few &lt;b&gt;" in card) is is_there
        assert "<b>" not in card


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a|b\n# c", "a\\|b \\# c"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("![x](y)", "\\!\\[x\\](y)"),
        (None, "not recorded"),
        (float("nan"), "not recorded"),
        (["a", "_b_"], "a, \\_b\\_"),
    ],
)
def test_what_comes_from_data_is_escaped(value: object, expected: str) -> None:
    assert text(value) == expected


def test_figure_without_an_interval_says_why() -> None:
    one = {"value": 0.5, "low": None, "high": None, "why": "no interval over one subject"}
    assert figure(one) == "0.500 (no interval: no interval over one subject)"
    assert figure({"value": None, "why": "one class"}) == "not defined (one class)"


def test_windows_come_with_a_card(windows: Path) -> None:
    card = (windows / "DATASET_CARD.md").read_text("utf-8")
    for split in ("train", "val", "test"):
        manifest = json.loads((windows / split / "manifest.json").read_text("utf-8"))
        share = 100 * manifest["kept"] / manifest["cut"]
        row = (split, manifest["n_cases"], 0, manifest["cut"], manifest["kept"], f"{share:.1f} %")
        assert f"| {' | '.join(map(str, row))} |" in card
        assert f"| {split} | {len(manifest['subjects'])} | not recorded | not recorded |" in card
    assert "The source states no licence" in card
    assert "0.5 to 10 Hz" in card


def test_card_counts_people_not_windows(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "labelled")
    stores = {split: folder / split for split in ("train", "val", "test")}
    card = write_dataset_card(tmp_path, stores).read_text("utf-8")
    # Five people of 20, 25, ... 40 years with ten windows each, of both sexes in turn.
    assert "| train | 5 | 30 (20 to 40), 5 | 3 F, 2 M |" in card
    assert "| train | hr | bpm |" in card
    assert "val has 3 people" in card
