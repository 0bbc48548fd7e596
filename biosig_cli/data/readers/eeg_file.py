"""One EEG file, whatever its format: its channels by plain names, in uV, and its events.

mne reads it. It returns volts where it knows the unit of a file and the numbers of the file where
it does not, so the unit is asked for; and it brings channels of several rates to the highest, so
only channels that are wanted are opened.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.bounds import assert_room
from biosig_cli.core.errors import DataError
from biosig_cli.data.readers.mat_files import check_mat
from biosig_cli.data.record import Event, Track
from biosig_cli.signal.electrodes import channel_of, require_mne
from biosig_cli.signal.spec import ChannelKind

if TYPE_CHECKING:
    from mne.io import BaseRaw

READERS = {
    ".edf": "read_raw_edf",
    ".bdf": "read_raw_bdf",
    ".set": "read_raw_eeglab",
    ".vhdr": "read_raw_brainvision",
    ".fif": "read_raw_fif",
}
"""What mne reads each kind of file with, by its ending."""
ENDINGS = (*READERS, *map(str.upper, READERS))
COMPANIONS = {".set": (".fdt",), ".vhdr": (".eeg", ".vmrk")}
"""Files that belong to a file, by its ending."""
CAN_CHOOSE = (".edf", ".bdf")
"""Kinds whose channels may differ in rate, and are opened one by one."""
VOLTS = frozenset({"V", "mV", "uV", "µV", "μV", "\x83\xcaV"})
"""Units of an EDF file that mne brings to volts; others stay as they are."""
BREAKS = ("boundary", "New Segment")
"""Events between whose two sides samples were cut out."""
CUT = "Number of records from the header does not match the file size"
READ_SAMPLES = 10_000_000
"""Samples held as float64 at once."""


def open_eeg(path: Path, names: Iterable[str] = ()) -> "BaseRaw":
    """Open a file without reading its samples.

    Args:
        path: The file.
        names: The channels that are wanted, as the file calls them; all when empty.

    Raises:
        DataError: If it can't be read, is cut, or has gaps that it does not show.
    """
    require_mne()
    import mne

    if not path.is_file():
        raise DataError(f"{path.name} is not in {path.parent}")
    ending = path.suffix.lower()
    if ending in CAN_CHOOSE and _is_interrupted(path):
        raise DataError(
            f"{path.name} was recorded with interruptions (EDF+D), and would be read as if there "
            "were none",
            hint="write it as one continuous file for each stretch",
        )
    if ending == ".set":
        check_mat(path)
    chosen: dict[str, Any] = {"include": list(names)} if names and ending in CAN_CHOOSE else {}
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            raw: BaseRaw = _open(getattr(mne.io, READERS[ending]), path, chosen)
    except FileNotFoundError as error:
        raise DataError(
            f"{path.name} lacks the file that its samples are in: {error}",
            hint=f"copy it beside it: {', '.join(COMPANIONS.get(ending, ()))}",
        ) from None
    except MemoryError:  # no sample is read yet
        raise DataError(
            f"the header of {path.name} claims more than the memory holds",
            hint="copy or download it again",
        ) from None
    except NotImplementedError as error:  # scipy, of files that newer MATLABs write
        raise DataError(
            f"{path.name} is of MATLAB 7.3, which can't be read here: {error}",
            hint="pip install pymatreader; or save it again in EEGLAB with -v6",
        ) from None
    except Exception as error:  # mne raises whatever a damaged header makes of its parser
        raise DataError(
            f"{path.name} can't be read: {str(error).strip() or type(error).__name__}",
            hint="copy or download it again",
        ) from None
    if not 0 < float(raw.info["sfreq"]) < math.inf:
        raise DataError(f"{path.name} states a sampling rate of {raw.info['sfreq']} Hz")
    outside = [
        each for each in raw.filenames if each and Path(each).resolve().parent not in _homes(path)
    ]
    if outside:
        raise DataError(
            f"{path.name} says that its samples are in {outside[0]}, outside of its folder",
            hint="copy that file beside it, and correct its header",
        )
    if any(CUT in str(warning.message) for warning in said):
        raise DataError(
            f"{path.name} is cut: its header states another number of data records than it has",
            hint="copy or download it again",
        )
    return raw


def _open(reader: Callable[..., "BaseRaw"], path: Path, chosen: Mapping[str, Any]) -> "BaseRaw":
    try:
        return reader(path, preload=False, verbose="warning", **chosen)
    except Exception as error:  # mne has no class of its own for it
        if "encoding='latin1'" not in str(error):
            raise
        # Events are UTF-8 by the standard; older programs write them as Latin-1.
        raw = reader(path, preload=False, verbose="warning", encoding="latin1", **chosen)
        words = "".join(map(str, raw.annotations.description))
        if words.isascii() or not words.isprintable():
            raise  # what was no UTF-8 is no text at all
        return raw


def _homes(path: Path) -> set[Path]:
    """Return the folder of a file, and those that it and its companions are linked from."""
    companions = [path.with_suffix(ending) for ending in COMPANIONS.get(path.suffix.lower(), ())]
    return {path.parent.resolve(), *(each.resolve().parent for each in (path, *companions))}


def _is_interrupted(path: Path) -> bool:
    """Return whether the header of an EDF or BDF file says that there are gaps in it."""
    with path.open("rb") as file:
        return file.read(197)[192:] in (b"EDF+D", b"BDF+D")


def channels_of(raw: "BaseRaw") -> dict[str, tuple[str, ChannelKind]]:
    """Return the plain name and the kind of each channel, by its name in the file."""
    return {str(name): channel_of(str(name)) for name in raw.ch_names}


def electrodes_of(raw: "BaseRaw") -> tuple[str, ...]:
    """Return the electrodes of a file, in its order."""
    return tuple(name for name, kind in channels_of(raw).values() if kind == "eeg")


def read_tracks(
    raw: "BaseRaw", names: Iterable[str], path: Path, events: Iterable[Event]
) -> dict[str, Track]:
    """Return channels by the names that the file has for them, voltages in uV.

    Where samples were cut out, as an event says, the first one after is missing, so that nothing
    is filtered across.

    Raises:
        DataError: If samples can't be read.
    """
    names = list(names)
    assert_room(4 * len(names) * raw.n_times, f"{raw.n_times} samples of {path.name}")
    samples = np.empty((len(names), raw.n_times), np.float32)
    n_rows = max(1, READ_SAMPLES // max(1, len(names)))
    sampling_hz = float(raw.info["sfreq"])
    units = [_unit(raw, name, path) for name in names]
    factors = np.array([1e6 if unit == "V" else 1.0 for unit in units])[:, None]
    for start in range(0, raw.n_times, n_rows):
        stop = min(start + n_rows, raw.n_times)
        samples[:, start:stop] = _read(raw, names, start, stop, path) * factors
    for event in events:
        place = math.ceil(event.onset_s * sampling_hz)
        if event.name.startswith(BREAKS) and 0 < place < raw.n_times:
            samples[:, place] = np.nan
    return {
        name: Track(each, sampling_hz, "uV" if unit == "V" else unit)
        for name, each, unit in zip(names, samples, units, strict=True)
    }


def events_of(raw: "BaseRaw") -> tuple[Event, ...]:
    """Return the annotations of a file as events, in the order of time."""
    marked = raw.annotations
    first_s = raw.first_time if marked.orig_time is not None else 0.0
    events = [
        Event(float(onset_s) - first_s, str(name))
        for onset_s, name in zip(marked.onset, marked.description, strict=True)
    ]
    return tuple(sorted(events, key=lambda event: event.onset_s))


def _read(
    raw: "BaseRaw", names: list[str], start: int, stop: int, path: Path
) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return raw.get_data(picks=names, start=start, stop=stop, verbose="error")  # type: ignore[no-any-return]
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise DataError(
            f"the samples of {path.name} can't be read: {str(error) or type(error).__name__}",
            hint="copy or download it again",
        ) from None


def _unit(raw: "BaseRaw", name: str, path: Path) -> str:
    """Return the unit in which mne gives a channel."""
    stated: Mapping[str, str] = getattr(raw, "_orig_units", None) or {}
    if path.suffix.lower() not in CAN_CHOOSE or stated.get(name) in VOLTS:
        return "V"
    return str(stated.get(name) or "")
