"""Windows in a `.npz` file, or in arrays of that form: made for exchange, not for size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.artifacts import sha256
from biosig_cli.core.errors import DataError
from biosig_cli.data.store_files import npz_spec
from biosig_cli.data.unpack import read_npz
from biosig_cli.data.window_store import WindowStore
from biosig_cli.signal.spec import SignalSpec

NO_COLUMNS = ("data", "target", "channels", "center", "scale")
"""Arrays of a `.npz` file that do not have one value per window."""


class NpzStore(WindowStore):
    """Windows of a `.npz` file, held in memory; made for exchange, not for size."""

    def __init__(
        self,
        path: Path,
        spec: SignalSpec,
        arrays: Mapping[str, NDArray[Any]],
        positions: Sequence[int],
    ) -> None:
        self._arrays = dict(arrays)
        self._data = arrays["data"]
        manifest: dict[str, Any] = {"n_windows": len(self._data)} | {
            kind: {name.removeprefix(start): {} for name in arrays if name.startswith(start)}
            for kind, start in (("labels", "label_"), ("attributes", "subject_"))
        }
        manifest |= {"target": {"kind": "denoised"}} if "target" in arrays else {}
        super().__init__(path, spec, manifest, positions)
        self._columns["row"] = np.arange(len(self._data), dtype=np.int64)
        self._columns["shard"] = np.zeros(len(self._data), np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    @property
    def digest(self) -> str:
        """What identifies the content: the digest of the file."""
        return sha256(self.path)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are; a bare array does not say."""
        return super().subjects if "subject" in self._arrays else ()

    @property
    def n_bytes(self) -> int:
        """None: the windows are in memory."""
        return 0

    def load(self) -> None:
        """Do nothing: the windows are in memory."""

    def _open(self, shard: int, *, is_target: bool) -> NDArray[Any]:
        return self._arrays["target"] if is_target else self._data

    def _read_column(self, name: str) -> NDArray[Any]:
        what, _, channel = name.partition("_")
        if what in ("center", "scale") and what in self._arrays:
            names = [str(each) for each in self._arrays["channels"]]
            if channel in names:
                values: NDArray[Any] = self._arrays[what][:, names.index(channel)]
                return values
        if name not in self._arrays or name in NO_COLUMNS:
            raise DataError(
                f"{self.path} has no {name!r}", hint=f"it has {', '.join(self._arrays)}"
            )
        return self._arrays[name]


def open_npz(
    file: Path, *, channels: Sequence[str] | None = None, sampling_hz: float | None = None
) -> NpzStore:
    """Open a `.npz` file of windows.

    It holds `data` (N, C, T), `channels` and `sampling_hz`; the last two may be given instead.

    Raises:
        DataError: If a key is missing or `data` has another shape.
    """
    return open_arrays(file, read_npz(file), channels=channels, sampling_hz=sampling_hz)


def open_arrays(
    file: Path,
    arrays: Mapping[str, NDArray[Any]],
    *,
    channels: Sequence[str] | None = None,
    sampling_hz: float | None = None,
) -> NpzStore:
    """Return a store of the arrays that a `.npz` file holds; arguments and errors as `open_npz`.

    Args:
        file: Where they come from.
        arrays: `data` and what goes with it, by name.
        channels: Names of the channels to read, or of those that `data` has.
        sampling_hz: Their rate, in Hz, where the arrays do not say.
    """
    if "data" not in arrays:
        raise DataError(
            f"{file} has no 'data'; it has {', '.join(arrays) or 'nothing'}",
            hint="expected data (N, C, T), channels (C,), sampling_hz and, per window, subject, "
            "record, start_s, labels",
        )
    names = arrays.get("channels", channels)
    rate = arrays.get("sampling_hz", sampling_hz)
    if names is None or rate is None:
        raise DataError(
            f"{file} does not say its channels and sampling rate",
            hint="give both by name, or add the keys `channels` and `sampling_hz` to the file",
        )
    rate_hz, named = np.asarray(rate), np.asarray(names)
    if rate_hz.size != 1 or rate_hz.dtype.kind not in "iuf" or named.ndim != 1:
        raise DataError(
            f"{file}: sampling_hz has shape {rate_hz.shape} and type {rate_hz.dtype}, channels "
            f"have shape {named.shape}; expected a number and a row of names"
        )
    whole = npz_spec(file, arrays, [str(name) for name in named], float(rate_hz.item()))
    if sampling_hz is not None and sampling_hz != whole.sampling_hz:
        raise DataError(f"{file} is sampled at {whole.sampling_hz} Hz, asked for {sampling_hz} Hz")
    spec = whole if channels is None else whole.select(channels)
    return NpzStore(file, spec, arrays, whole.positions(spec.names))
