"""Electrodes by name: what a file calls a channel, what it records, and where it sits on the head.

Only a name that a montage knows is EEG: whatever a file declares, an ECG, the eyes, a reference or
a status line never counts as EEG. Montages are those of mne, which the extra `eeg` brings.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError
from biosig_cli.signal.spec import ChannelKind, Position

TEN_FIVE = ("colin27_1005", "standard_1005")
"""What mne calls the 10-05 system, from version 1.13 on and before."""
GSN = "GSN-HydroCel-129"
REFERENCES = frozenset({"A1", "A2", "M1", "M2"})
"""Ears and mastoids: montages place them, but they are what others are measured against."""
OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "E129": "Cz"}
"""Electrodes that the 10-10 system renamed, and the reference of the GSN net."""

_PREFIX = re.compile(r"^EEG[ _-]+", re.IGNORECASE)
_REFERENCE = re.compile(r"[ _-]+(REF|LE|AR|AVG|AVERAGE|CAR|A1|A2|M1|M2|A1A2|M1M2)$", re.IGNORECASE)
_TWICE = re.compile(r"^(\w+) \1$")
_KINDS: tuple[tuple[re.Pattern[str], ChannelKind], ...] = (
    (re.compile(r"^(ECG|EKG)", re.IGNORECASE), "ecg"),
    (re.compile(r"^RESP", re.IGNORECASE), "resp"),
)


def require_mne() -> None:
    """Make sure that mne is there.

    Raises:
        ConfigError: If it is not, saying how to install it.
    """
    if find_spec("mne") is None:
        raise ConfigError(
            "EEG recordings are read with mne, which is not installed",
            hint="pip install 'biosig[eeg]'",
        )


def channel_of(raw: str) -> tuple[str, ChannelKind]:
    """Return the plain name and the kind of a channel that a file calls `raw`.

    `EEG FP1-REF`, `Fp1.` and `fp1` are Fp1; `EEG T3-LE` is T7, as T3 is called today. `ECG ECG`
    is ECG, `EEG EKG1-REF` is EKG1, both of kind ecg. What no montage knows is of kind `other`.

    Args:
        raw: The name in the file.
    """
    name = _PREFIX.sub("", raw.strip().rstrip("."))
    bare = _TWICE.sub(r"\1", _REFERENCE.sub("", name))
    electrode = _electrodes().get(bare.upper())
    if electrode is not None:
        return OLD_NAMES.get(electrode, electrode), "eeg"
    return bare, next((kind for pattern, kind in _KINDS if pattern.match(bare)), "other")


def montage_electrodes(montage: str) -> tuple[str, ...]:
    """Return the electrodes of a montage that mne knows by name, without references.

    Raises:
        ConfigError: If there is no such montage.
    """
    require_mne()
    from mne.channels import get_builtin_montages

    if montage not in get_builtin_montages():
        raise ConfigError(
            f"electrodes: no montage {montage!r}",
            hint="give a list of names, `all`, or a montage of mne such as "
            f"{GSN}, GSN-HydroCel-128, biosemi64",
        )
    return tuple(name for name in _montage(montage) if name not in REFERENCES)


def electrode_positions(names: Sequence[str]) -> dict[str, Position]:
    """Return where electrodes sit on the unit sphere, by name.

    Names such as E12 are of the GSN HydroCel net, and then Cz is the net's; others are of the
    10-05 system.

    Args:
        names: Plain names, of one montage.

    Raises:
        ConfigError: If one of them is in neither.

    Source:
        The montages of mne, moved into the frame of the head (x through the ears, y to the nose).
        The centre of the sphere that fits all electrodes of the montage best (least squares) is
        taken away, and each is put at a distance of 1. Of the 20 electrodes of the 10-20 system
        that the GSN net's makers match, the two montages place each within 16 degrees.
    """
    is_gsn = any(_is_gsn(name) for name in names)
    known = _montage(GSN) if is_gsn else _ten_five()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"electrodes: {', '.join(unknown[:5])} have no position in "
            f"{GSN if is_gsn else 'the 10-05 system'}",
            hint="name electrodes of one montage: Fp1, F7, ... or E1, E2, ...",
        )
    return {name: known[name] for name in names}


def _is_gsn(name: str) -> bool:
    return re.fullmatch(r"E\d+", name) is not None


@cache
def _electrodes() -> Mapping[str, str]:
    """Return the names that are EEG, by their capitals."""
    names = [*_ten_five(), *_montage(GSN)]
    known = [*names, *OLD_NAMES]
    return {name.upper(): name for name in known if name not in REFERENCES}


def _ten_five() -> Mapping[str, Position]:
    require_mne()
    from mne.channels import get_builtin_montages

    return _montage(next(name for name in TEN_FIVE if name in get_builtin_montages()))


@cache
def _montage(montage: str) -> Mapping[str, Position]:
    require_mne()
    from mne.channels import compute_native_head_t, make_standard_montage
    from mne.transforms import apply_trans

    template = make_standard_montage(montage)
    places = template.get_positions()["ch_pos"]
    there = apply_trans(compute_native_head_t(template), np.array(list(places.values())))
    there = there - _centre(there)
    there /= np.linalg.norm(there, axis=1, keepdims=True)
    return {
        str(name): (float(x), float(y), float(z))
        for name, (x, y, z) in zip(places, there.round(4), strict=True)
    }


def _centre(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centre of the sphere that fits (n, 3) points: |p|^2 = 2 c p + (r^2 - |c|^2)."""
    system = np.column_stack([2 * places, np.ones(len(places))])
    solution: NDArray[np.float64] = np.linalg.lstsq(system, (places**2).sum(axis=1), rcond=None)[0]
    return solution[:3]
