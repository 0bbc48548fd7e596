"""A small store of windows, made by the commands that users make theirs with."""

from pathlib import Path

import pytest

from biosig_cli.core.progress import Reporter
from biosig_cli.services import split_store
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import write_case


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with stores `train`, `val` and `test` of PPG + ECG windows."""
    folder = tmp_path_factory.mktemp("chain")
    for number in range(7):
        write_case(folder / "source", f"{number}", duration_s=60.0, rate_bpm=60.0 + 7 * number)
    quiet = Reporter(silent=True)
    splits = prepare_splits(
        PrepareSplitsConfig(source=str(folder / "source"), output=folder), quiet
    )
    config = BuildWindowsConfig(split_file=splits.path, outdir=folder / "windows", workers=1)
    build_windows(config, quiet)
    return folder / "windows"


@pytest.fixture(autouse=True)
def pages_are_drawn_where_they_are_tested(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave the page about quality out elsewhere: it takes longer than the windows of a test."""
    if not request.module.__name__.endswith("test_windows_report"):
        monkeypatch.setattr(split_store, "write_quality", lambda *_, **__: None)
