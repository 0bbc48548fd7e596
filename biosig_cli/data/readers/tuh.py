"""The EEG corpora of Temple University Hospital: EDF files of one clinic, as they were recorded.

Channels are called `EEG FP1-REF` or `EEG FP1-LE` by what they were measured against, with the old
names of the 10-20 system (T3, T4, T5, T6). Rates are 250, 256, 400, 512 Hz and others: each file
says its own.
"""

import re
from pathlib import Path

from biosig_cli.data.readers.base import walk
from biosig_cli.data.readers.eeg_folder import EegFolder

MONTAGE = re.compile(r"0[1-4]_tcp_(ar|le|ar_a|le_a)")
"""Name of the folder that holds the files of one way of referencing."""


class TuhFolder(EegFolder):
    """A folder of a TUH EEG corpus; a file is a record, and its first letters are the patient."""

    kind = "TUH EEG recordings"
    looks_for = "EDF files in folders such as 01_tcp_ar (TUH EEG)"
    subject_pattern = r"(?:.*/)?([a-z]{8}|[0-9]{8})_s[0-9]+_t[0-9]+$"

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Return whether a folder holds files in TUH's tree."""
        return any(MONTAGE.fullmatch(path.parent.name) for path in walk(folder, "*.edf"))
