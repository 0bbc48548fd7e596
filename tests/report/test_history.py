"""The curves of a training are drawn whole."""

from pathlib import Path

from biosig_cli.report.history import draw_history


def test_history_is_drawn_with_its_trivial_answers(tmp_path: Path) -> None:
    history = {
        "epoch": [1.0, 2.0],
        "lr": [1e-3, 5e-4],
        "train_loss": [1.2, 1.0],
        "train_msm": [1.0, 0.9],
        "val_loss": [1.3, 1.1],
        "val_msm": [1.1, 1.0],
        "val_zero": [1.02, 1.02],
        "val_interpolation": [1.7, 1.7],
    }
    path = tmp_path / "history.png"
    draw_history(history, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["history.png"]
