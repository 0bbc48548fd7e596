"""Every reader is given damaged files: it reads them or says why not, and nothing else happens."""

from pathlib import Path

import pytest

from tests.faults.fuzz import FINE, campaign, outcomes
from tests.faults.targets import TARGETS

N_INPUTS = 15
"""Of each kind here; `make faults` tries a thousand."""


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, target: str) -> None:
    if target in ("edf", "bdf", "fif", "eeglab", "brainvision", "bids_eeg"):
        pytest.importorskip("mne")
        pytest.importorskip("edfio")
    told = list(outcomes(target, N_INPUTS, tmp_path, None))
    assert [each for each in told if each["how"] not in FINE] == []
    assert len(told) == N_INPUTS
    assert any(each["how"] == "refused" for each in told), "the damage is seen"


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, real_data: Path) -> None:
    told = campaign(list(TARGETS), 1000, tmp_path, real_data, 2)
    assert [each for each in told if each["how"] not in FINE] == []
