"""What the commands that are tried to break here begin with."""

from pathlib import Path

import pytest

from tests.faults.commands import prepare


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with recordings, windows and models, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("faults") / "base"
    prepare(folder)
    return folder
