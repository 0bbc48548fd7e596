"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with recordings of people; a test that needs it is skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BIOSIG_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} is not there, set BIOSIG_TEST_DATA")
    return folder
