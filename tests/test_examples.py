"""The example runs on recordings as it stands, and stays short."""

import runpy
from pathlib import Path

import pytest

from tests.recordings import write_case

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_chain_goes_from_recordings_to_embeddings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        write_case(tmp_path / "source", f"{number}", rate_bpm=60 + 9 * number)
    chain = runpy.run_path(str(EXAMPLES / "chain.py"))
    chain["main"](str(tmp_path / "source"), tmp_path / "out")
    assert "test windows as vectors of 192" in capsys.readouterr().out


def test_chain_is_forty_lines() -> None:
    lines = (EXAMPLES / "chain.py").read_text("utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(('"""', "python"))]
    assert len(code) <= 40


def test_demo_takes_recordings_in_the_stated_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_source = runpy.run_path(str(EXAMPLES / "demo.py"))["find_source"]
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("BIOSIG_DATA", raising=False)
    folder, what, recipe = find_source()
    assert "HeartPy" in what
    assert recipe == ["--config", "demo"]
    assert {"data.csv", "data2.csv", "data3.csv"} <= {path.name for path in folder.iterdir()}
    (tmp_path / "shared/data/vital").mkdir(parents=True)
    assert find_source()[0] == Path("../shared/data/vital")
    monkeypatch.setenv("BIOSIG_DATA", "mine")
    assert find_source()[0] == Path("mine")
