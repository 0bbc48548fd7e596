"""What stands beside a store for people to look at: some windows, and a page on their quality."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.errors import BiosigError
from biosig_cli.data.parts import DROPPED
from biosig_cli.data.readers.base import Source
from biosig_cli.data.store import INDEX, WindowStore
from biosig_cli.data.windows import CutWindows, WindowRecipe, cut_and_judge
from biosig_cli.report.figures import draw_windows
from biosig_cli.report.quality_examples import Example, examples
from biosig_cli.report.quality_figures import DrawnWindow
from biosig_cli.report.quality_page import write_quality_page
from biosig_cli.report.quality_tables import Judged
from biosig_cli.signal.spec import SignalSpec

QUALITY_PAGE = "quality.html"
N_DRAWN = 4
"""Windows in `windows.png`."""
LONG_NAME = 20
"""Letters of a record's name, beyond which it takes a line of its own."""
LONGEST_DRAWN_S = 12.0
"""A longer window is drawn in part."""


def draw_some(folder: Path, spec: SignalSpec, manifest: Mapping[str, Any]) -> None:
    """Draw windows spread evenly over the store in `folder`, whose manifest may not stand yet.

    Of a long window the middle is drawn, so that single pulses are seen; the denoised twin, where
    there is one, lies over the signal.
    """
    store = WindowStore(folder, spec, manifest, range(len(spec.channels)))
    rows = np.unique(np.linspace(0, len(store) - 1, N_DRAWN + 2).astype(np.int64)[1:-1])
    n_drawn = min(spec.n_samples, round(LONGEST_DRAWN_S * spec.sampling_hz))
    first = (spec.n_samples - n_drawn) // 2
    middle = slice(first, first + n_drawn)
    starts_s = store.column("start_s")[rows] + first / spec.sampling_hz
    records = store.column("record")[rows]
    part = "" if n_drawn == spec.n_samples else f", {n_drawn / spec.sampling_hz:g} s of each"
    draw_windows(
        folder / "windows.png",
        store.physical(rows)[..., middle],
        over=store.physical_target(rows)[..., middle] if store.has_target else None,
        sampling_hz=spec.sampling_hz,
        channels=_channels(spec),
        titles=[
            _title(str(record), start_s) for record, start_s in zip(records, starts_s, strict=True)
        ],
        heading=f"{manifest['split']}: {len(rows)} of {len(store):,} windows, filtered, "
        f"{spec.duration_s:g} s at {spec.sampling_hz:g} Hz{part}",
    )


def _title(record: str, start_s: float) -> str:
    """Return what stands above a window: long names take a line, and folders are left out."""
    name = record.rsplit("/", 1)[-1]
    between = "\n" if len(name) > LONG_NAME else " "
    return f"record {name},{between}from {start_s:.0f} s"


def write_quality(
    folder: Path,
    source: Source,
    recipe: WindowRecipe,
    manifest: Mapping[str, Any],
    *,
    case_of: Mapping[str, str],
    words: Mapping[str, Mapping[str, float]],
) -> None:
    """Write the page about the quality of all windows that were cut for the store in `folder`.

    The records of the few windows that are drawn are read once more: no window that was dropped
    lies on disk.

    Args:
        folder: The folder of the store.
        source: Where its records come from.
        recipe: How they were cut and judged.
        manifest: What the store's manifest will say.
        case_of: What the source calls each record of the store.
        words: By column of a label that stands for words, the number of each word.
    """
    judged = read_judged(folder, recipe, has_windows=bool(manifest["n_windows"]))
    judged = replace(judged, columns={**judged.columns, **_in_words(judged, words)})
    spec = recipe.spec
    write_quality_page(
        folder / QUALITY_PAGE,
        judged,
        _draw(judged, examples(judged), source, recipe, case_of),
        split=manifest["split"],
        gate=recipe.windows.gate,
        channels=_channels(spec),
        sampling_hz=spec.sampling_hz,
        facts={
            "hours kept": f"{manifest['hours']:.2f}",
            "window": f"{spec.duration_s:g} s, {spec.sampling_hz:g} Hz",
            "source": source.kind,
            "biosig": manifest["biosig_version"],
        },
    )


def read_judged(folder: Path, recipe: WindowRecipe, *, has_windows: bool) -> Judged:
    """Return what is known of every window that was cut for the store in `folder`.

    Args:
        folder: The folder of the store.
        recipe: How its windows were cut and judged.
        has_windows: Whether any was kept; else there is no index.
    """
    dropped = pq.read_table(folder / DROPPED)
    tables = [dropped.drop_columns(["reason"])]
    if has_windows:
        shared = [
            name for name in pq.read_schema(folder / INDEX).names if name in dropped.schema.names
        ]
        tables = [pq.read_table(folder / INDEX, columns=shared), dropped.select(shared)]
    n_kept = len(tables[0]) if has_windows else 0
    columns = {
        each.name: _values(
            pa.chunked_array(
                [c for table in tables for c in table.column(each.name).chunks], each.type
            )
        )
        for each in tables[0].schema
    }
    reason = np.concatenate([np.full(n_kept, "", object), _values(dropped.column("reason"))])
    kept = np.arange(n_kept + len(dropped)) < n_kept
    return Judged(columns, kept, reason, recipe.rules)


def _in_words(
    judged: Judged, words: Mapping[str, Mapping[str, float]]
) -> dict[str, NDArray[np.object_]]:
    """Return the columns of labels that stand for words, as words; None where none is known."""
    columns = {}
    for name in words.keys() & judged.columns.keys():
        word_of = {number: word for word, number in words[name].items()}
        values = judged.columns[name].tolist()
        columns[name] = np.array([word_of.get(value) for value in values], object)
    return columns


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values: NDArray[Any] = column.to_numpy()
    return values


def _channels(spec: SignalSpec) -> list[tuple[str, str, str]]:
    return [(channel.name, channel.kind, channel.unit) for channel in spec.channels]


def _draw(
    judged: Judged,
    chosen: Sequence[Example],
    source: Source,
    recipe: WindowRecipe,
    case_of: Mapping[str, str],
) -> list[tuple[Example, DrawnWindow]]:
    """Return the chosen windows, cut again from their records; those that can't be are left out."""
    by_record: dict[str, list[Example]] = {}
    for example in chosen:
        by_record.setdefault(str(judged.columns["record"][example.row]), []).append(example)
    drawn = {}
    # Twins are not drawn here, so none is made.
    recipe = recipe.model_copy(
        update={"windows": recipe.windows.model_copy(update={"denoise": None})}
    )
    for record, wanted in by_record.items():
        try:
            cut = cut_and_judge(source.read(case_of[record], recipe.channels), recipe)
        except BiosigError:
            continue  # changed or gone since it was cut; the figures of its windows stand anyway
        for example in wanted:
            start_s = float(judged.columns["start_s"][example.row])
            place = int(np.abs(cut.start_s - start_s).argmin())
            drawn[example.row] = _window(cut, place, recipe.spec)
    return [(example, drawn[example.row]) for example in chosen if example.row in drawn]


def _window(cut: CutWindows, place: int, spec: SignalSpec) -> DrawnWindow:
    first = int(cut.starts[place])
    beats_s = {}
    for name, beats in cut.beats.items():
        inside = beats[(beats >= first) & (beats < first + spec.n_samples)] - first
        beats_s[name] = (inside / spec.sampling_hz).tolist()
    return DrawnWindow(cut.filtered[place], beats_s)
