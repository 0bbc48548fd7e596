"""What became of the recordings that a model was given: counted, said, and never passed over."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from biosig_cli import __version__
from biosig_cli.core.artifacts import atomic_path, clear_half_written, sha256
from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.flagged import FlaggedWindows
from biosig_cli.services.given_windows import Portion

N_SAID = 5
"""Skipped records that are named on screen; all are in the table beside the result."""


@dataclass
class _Count:
    """What there was in one input."""

    n_records: int = 0
    n_skipped: int = 0
    n_windows: int = 0
    n_usable: int = 0
    n_lacking: int = 0


@dataclass
class Tally:
    """Counts records and windows, by input, as they pass."""

    counts: dict[str, _Count] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    """Input, record and reason of each that can't be used."""
    partial: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By record, the electrodes that it lacks, of those that were used all the same."""

    def restart(self) -> None:
        """Forget everything that was counted."""
        self.counts.clear()
        self.skipped.clear()
        self.partial.clear()

    def count(self, portion: Portion) -> None:
        """Take note of a portion."""
        count = self.counts.setdefault(portion.source, _Count())
        if portion.windows is None:
            count.n_records += 1
            count.n_skipped += 1
            self.skipped.append((portion.source, portion.record, portion.problem))
            return
        count.n_records += max(1, len(set(portion.windows.record.tolist())))
        count.n_windows += len(portion.windows)
        count.n_usable += int(portion.windows.usable.sum())
        count.n_lacking += portion.windows.n_lacking
        if portion.lacking:
            self.partial[portion.record] = portion.lacking

    @property
    def n_windows(self) -> int:
        """Windows that the model was asked about."""
        return sum(count.n_windows for count in self.counts.values())

    @property
    def n_usable(self) -> int:
        """Those of them that a store would hold."""
        return sum(count.n_usable for count in self.counts.values())

    def report(self, reporter: Reporter) -> None:
        """Say what there was, input by input, and name the first records that were skipped."""
        rows = [
            (source, c.n_records, c.n_skipped, c.n_windows, c.n_usable, c.n_lacking)
            for source, c in self.counts.items()
        ]
        columns = ("input", "records", "skipped", "windows", "usable", "lack samples")
        reporter.table("", columns, rows)
        for record, lacking in reporter.first(N_SAID, list(self.partial.items())):
            names = ", ".join(lacking)
            reporter.warn(f"{record} lacks {names}: used without, its numbers for these are NaN")
        if len(self.partial) > N_SAID:
            reporter.warn(f"{len(self.partial)} records lack electrodes; column `flags` says which")
        named = reporter.first(N_SAID, self.skipped)
        for _, record, why in named:
            reporter.warn(f"{record} skipped: {why}")
        if len(self.skipped) > len(named):
            reporter.warn(f"and {len(self.skipped) - len(named)} more records (--verbose: all)")

    def write_skipped(self, output: Path) -> Path | None:
        """Write why records could not be used beside `output`; None where all could."""
        path = output.with_name(f"{output.stem}_skipped.csv")
        if not self.skipped:
            path.unlink(missing_ok=True)
            return None
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(("input", "record", "reason"))
            table.writerows(self.skipped)
        return path

    def check_any(self) -> None:
        """Make sure that the model could be asked about a window.

        Raises:
            DataError: If there was none, with the reason of the first record.
        """
        if not self.n_windows:
            first = f"; {self.skipped[0][1]}: {self.skipped[0][2]}" if self.skipped else ""
            raise DataError(
                f"not one window to ask about: {len(self.skipped)} records skipped{first}",
                hint="where a channel has another name here, give a recipe with its tracks: "
                "--config FILE|NAME, or --set channels.PPG.tracks=[NAME]",
            )

    def check_usable(self, output: Path) -> None:
        """Make sure that one of the windows is usable.

        Raises:
            DataError: If all break a rule of quality that the model's recipe asks.
        """
        if not self.n_usable:
            raise DataError(
                f"{output} is written, but none of its {self.n_windows} windows is usable",
                hint="its column `flags` says which rules of quality each one breaks",
            )


def about_windows(source: str, windows: FlaggedWindows) -> dict[str, pa.Array]:
    """Return the columns that say which windows they are, and what is wrong with them."""
    n_windows = len(windows)
    return {
        "source": pa.array([source] * n_windows),
        "record": pa.array(windows.record),
        "subject": pa.array(windows.subject),
        "start_s": pa.array(windows.start_s),
        "usable": pa.array(windows.usable),
        "flags": pa.array(windows.flags),
    }


def origin(checkpoint: Path) -> dict[str, str]:
    """Return what the file of a result says of the model that made it."""
    return {
        "biosig_version": __version__,
        "checkpoint": str(checkpoint),
        "sha256": sha256(checkpoint),
    }


def write_tables(
    path: Path, tables: Iterable[pa.Table], about: Mapping[str, str], tally: Tally
) -> int:
    """Write tables of one kind as one Parquet file, as they come; return how many rows it has.

    Raises:
        DataError: If there is none, or the file can't be written.
    """
    n_rows, writer = 0, None
    clear_half_written(path.parent.glob(".*"))
    with atomic_path(path) as temporary:
        try:
            for table in tables:
                if writer is None:
                    schema = table.schema.with_metadata(about)
                    writer = pq.ParquetWriter(temporary, schema, compression="zstd")
                writer.write_table(table.replace_schema_metadata(about))
                n_rows += table.num_rows
        finally:
            if writer is not None:
                writer.close()
        tally.check_any()
    return n_rows


def conclude(output: Path, n_rows: int, tally: Tally, reporter: Reporter) -> None:
    """Say what became of everything that was given, and where the result is.

    Raises:
        DataError: If none of the windows is usable.
    """
    tally.report(reporter)
    skipped = tally.write_skipped(output)
    if skipped is not None:
        reporter.fact("skipped", skipped, f"{len(tally.skipped)} records, and why")
    reporter.fact("written", output, f"{n_rows:,} rows")
    tally.check_usable(output)
