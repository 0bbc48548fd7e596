"""VitalDB's open data set: a table of cases and a `.vital` file for each, fetched as needed.

Lee et al., "VitalDB, a high-fidelity multi-parameter vital signs database in surgical patients",
Scientific Data 9:279 (2022), doi 10.1038/s41597-022-01411-5.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from biosig_cli.core.errors import ConfigError, DataError, DownloadError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.download import Downloads, origin
from biosig_cli.data.readers.base import NOT_HERE
from biosig_cli.data.readers.vital import CASES, VitalFolder, check_file
from biosig_cli.data.record import Record
from biosig_cli.data.tables import read_table
from biosig_cli.data.unpack import gunzip

VITALDB = "vitaldb"
"""What the source is called."""
VERSION = "1.0.1"
"""Release of the recordings; its files do not change."""
N_PUBLISHED = 6388
"""Cases of the release, numbered from 1."""
LICENCE = "CC BY-NC-SA 4.0 and VitalDB's data use agreement; cite doi 10.1038/s41597-022-01411-5"
HOW_ELSE = "give a folder of recordings: --source FOLDER; or a copy's address: BIOSIG_VITALDB_URL"
CASE_SETS: dict[str, tuple[str, ...]] = {
    "all": (),
    "bis": ("caseids_bis",),
    "desflurane": ("caseids_des",),
    "sevoflurane": ("caseids_sevo",),
    "remifentanil": ("caseids_rft20", "caseids_rft50"),
    "propofol": ("caseids_ppf",),
    "tiva": ("caseids_tiva",),
}
"""Parts of the release by what was monitored or given: the lists of the package `vitaldb`."""


class VitalDb(VitalFolder):
    """The open data set, in a folder of the cache that fills as cases are asked for."""

    kind = "VitalDB open data set"

    def __init__(
        self,
        url: str,
        cache: Path,
        *,
        dataset: DatasetConfig | None = None,
        offline: bool = False,
    ) -> None:
        """Fetch the table of cases, unless it is there.

        Args:
            url: The server: `{url}/cases` is the table, `{url}/1.0.1/<caseid>.vital` a case.
            cache: Folder that all downloads are kept in.
            dataset: What a recipe says of the recordings.
            offline: Use only what is in the cache.

        Raises:
            ConfigError: If the address is none.
            DataError: If the table can't be had, or is none.
        """
        if not re.match(r"https?://[^/]", url):
            raise ConfigError(f"BIOSIG_VITALDB_URL is {url!r}, no http:// or https:// address")
        self._url = url.rstrip("/")
        self._downloads = Downloads(offline=offline)
        self._missed: set[str] = set()
        folder = cache / VITALDB / VERSION
        self._fetch_table(folder / CASES.table)
        super().__init__(folder, dataset)
        self.licence = LICENCE
        cases = read_table(folder / CASES.table, (CASES.record,))[CASES.record]
        self._files = {case: folder / f"{case}.vital" for case in cases}

    @property
    def has_published_cases(self) -> bool:
        """Whether it has cases of the release, which the lists of case sets know."""
        return any(int(case) <= N_PUBLISHED for case in self._files)

    def cases_of(self, name: str) -> list[str]:
        """Return the cases of a case set, in order.

        The sets are lists of the published cases. Of a server that has none of these, and so has
        other recordings, all cases are of every set.
        """
        if name == "all" or not self.has_published_cases:
            return self.ids()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns of its own imports
            import vitaldb
        listed = {str(case) for each in CASE_SETS[name] for case in getattr(vitaldb, each)}
        return [case for case in self.ids() if case in listed]

    def fingerprint(self, record_id: str) -> str:
        """Return the release, whose files do not change; another word for a case not to be had."""
        return NOT_HERE if record_id in self._missed else f"{VITALDB} {VERSION}"

    def fetch(
        self, record_ids: Sequence[str], tell: Callable[[str], None]
    ) -> Iterator[tuple[str, str]]:
        """Yield each case as soon as its file is here, with why it can't be had, if so.

        Raises:
            DiskFullError: If there is no room for them.
        """
        wanted = {case: self._place(case) for case in record_ids}
        for case, problem in self._downloads.fetch_all(wanted, check_file, tell):
            if isinstance(problem, DownloadError):
                self._missed.add(case)
            yield case, str(problem or "")

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, fetched if it is not here.

        Raises:
            DataError: If it can't be had, or lacks one of them.
        """
        self._downloads.fetch(*self._place(record_id), check_file)
        return super().read(record_id, channels)

    def _place(self, case: str) -> tuple[str, Path]:
        return f"{self._url}/{VERSION}/{case}.vital", self._path(case)

    def _fetch_table(self, path: Path) -> None:
        url = f"{self._url}/cases"
        is_others = path.is_file() and origin(path) not in ("", url)
        is_stale = is_others and not self._downloads.offline
        try:
            self._downloads.fetch(url, path, _settle_table, is_stale=is_stale)
        except DownloadError as error:
            raise DownloadError(str(error), hint=error.hint or HOW_ELSE) from None


def _settle_table(path: Path) -> None:
    """Unpack the table where the server packs it, and make sure that it is one.

    Raises:
        DataError: If it lacks a column, or a case is no number: cases become names of files.
    """
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        path.write_bytes(gunzip(content, path.name))
    cases = read_table(path, (CASES.record, CASES.subject))[CASES.record]
    odd = next((case for case in cases if not re.fullmatch("[0-9]{1,12}", case)), None)
    if odd is not None or not cases:
        raise DataError(
            f"{path.name} has {'no case' if odd is None else f'a case {odd!r}, not a number'}"
        )
