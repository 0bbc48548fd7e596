"""What all tests share."""

import os
from functools import partial
from pathlib import Path

import pytest

from biosig_cli.data import download


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with recordings of people; a test that needs it is skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BIOSIG_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} is not there, set BIOSIG_TEST_DATA")
    return folder


@pytest.fixture(autouse=True)
def nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep tests from the open data set's server, and from what its user has in the cache."""
    monkeypatch.setenv("BIOSIG_VITALDB_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(download, "Patience", partial(download.Patience, pause_s=0.0))
