"""The curves of a training are drawn whole."""

import math
from pathlib import Path
from typing import get_args

import pytest
from matplotlib.figure import Figure

from biosig_cli.objectives.kinds import ObjectivesConfig
from biosig_cli.report.history import OF_FIGURE, TRIVIAL, draw_history


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


def test_what_is_known_of_some_epochs_is_joined_and_negative_figures_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def figure(**settings: object) -> Figure:
        drawn.append(Figure(**settings))
        return drawn[-1]

    monkeypatch.setattr("biosig_cli.report.history.Figure", figure)
    history = {
        "epoch": [1.0, 2.0, 3.0],
        "lr": [1e-3, 5e-4, 1e-4],
        "val_probe_auroc": [0.6, math.nan, 0.7],
        "val_uniformity": [-0.5, -1.0, -1.5],
        "val_retrieval": [0.1, 0.2, 0.3],
        "val_retrieval_chance": [0.05, 0.05, 0.05],
    }
    draw_history(history, tmp_path / "history.png")
    by_title = {axis.get_title(): axis for axis in drawn[0].axes}
    assert set(by_title) >= {"probe_auroc", "uniformity", "retrieval", "learning rate"}
    assert "retrieval_chance" not in by_title
    assert list(by_title["probe_auroc"].lines[0].get_xdata()) == [1.0, 3.0]
    assert by_title["uniformity"].get_ylim()[0] < -1.4
    assert by_title["retrieval"].get_ylim()[0] == 0
    assert [text.get_text() for text in by_title["retrieval"].texts] == ["by chance"]


@pytest.mark.parametrize("name", ObjectivesConfig.model_fields)
def test_the_trivial_answers_of_every_question_are_lines_beside_it(name: str) -> None:
    (question,) = (
        each
        for each in get_args(ObjectivesConfig.model_fields[name].annotation)
        if each is not type(None)
    )
    assert set(question.trivial) <= set(OF_FIGURE[question.judged])
    assert set(question.trivial) <= set(TRIVIAL)
