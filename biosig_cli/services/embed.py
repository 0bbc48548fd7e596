"""`biosig embed`: what an encoder makes of raw recordings, window by window or token by token."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.catalog import load_encoder
from biosig_cli.core.progress import Advance, Reporter
from biosig_cli.core.runtime import Machine, choose_device
from biosig_cli.data.flagged import FlaggedWindows
from biosig_cli.engine.checkpoint import find_checkpoint, load_checkpoint
from biosig_cli.models.base import Encoder
from biosig_cli.models.heads import pool
from biosig_cli.services.given_report import Tally, about_windows, conclude, origin, write_tables
from biosig_cli.services.given_windows import GivenConfig, open_given
from biosig_cli.signal.spec import SignalSpec

Per = Literal["window", "token"]
Values = NDArray[np.float32]


class EmbedConfig(GivenConfig):
    """Settings of `biosig embed`."""

    checkpoint: Path = Path("artifacts/pretrain")
    """A run, or one of its checkpoints."""
    output: Path = Path("embeddings.parquet")
    """The table that is written."""
    per: Per = "window"
    """`window`: one vector, mean and spread of its tokens; `token`: each of its tokens."""


@dataclass(frozen=True)
class Embedding:
    """What an encoder makes of one window."""

    source: str
    """The input that it is from."""
    record: str
    subject: str
    start_s: float
    """When the window begins, in seconds on its record's clock."""
    usable: bool
    """Whether a store would hold the window."""
    flags: str
    """The rules of quality that it breaks, joined by `; `."""
    values: Values
    """(F,) mean and spread of the tokens, channel by channel; or (C, P, D), the tokens. NaN for
    electrodes that the recording lacks, which an EEG encoder does without."""


@dataclass(frozen=True)
class Embedded:
    """What an encoder makes of N windows."""

    source: str
    windows: FlaggedWindows
    values: Values
    """(N, F), or (N, C, P, D)."""


class Embeddings:
    """Embeddings of everything that is given, made while they are asked for.

    Args:
        config: Checkpoint, inputs, and what is asked.

    Raises:
        CheckpointError: If the checkpoint can't be read, or does not say how its windows are made.
        DataError: If an input is not there, or nothing in it is known.
        ConfigError: If the device is not there.
    """

    def __init__(self, config: EmbedConfig) -> None:
        self.config = config
        self.file = find_checkpoint(config.checkpoint)
        content = load_checkpoint(self.file)
        self.encoder = load_encoder(self.file)
        # A task's head stands on all electrodes; nobody asked about that of a fine-tuned encoder.
        any_montage = self.encoder.any_montage and "head_state_dict" not in content
        self.given = open_given(config, content, self.file, any_montage=any_montage)
        self.device = choose_device(config.device, Machine.detect())
        self.encoder = self.encoder.to(self.device.value)
        self.tally = Tally()

    @property
    def skipped(self) -> dict[str, str]:
        """Why a record could not be used, by its id; complete when all is embedded."""
        return {record: why for _, record, why in self.tally.skipped}

    def __iter__(self) -> Iterator[Embedding]:
        for each in self.portions():
            w = each.windows
            about = (w.record, w.subject, w.start_s, w.usable, w.flags)
            rows = zip(*(values.tolist() for values in about), each.values, strict=True)
            for record, subject, start_s, usable, flags, values in rows:
                yield Embedding(each.source, record, subject, start_s, usable, flags, values)

    def _question(self, spec: SignalSpec | None) -> Callable[[Tensor], Tensor]:
        """Return what is asked of windows of `spec`; where they lack channels, the rest is NaN."""
        ask = pool if self.config.per == "window" else torch.Tensor.contiguous
        if spec is None:
            return lambda signal: ask(self.encoder(signal).tokens)
        names = [channel.name for channel in self.encoder.montage()]
        places = [names.index(channel.name) for channel in self.encoder.montage(spec)]

        def answer(signal: Tensor) -> Tensor:
            tokens = self.encoder(signal, spec=spec).tokens
            n_windows, _, *rest = tokens.shape
            whole = tokens.new_full((n_windows, len(names), *rest), torch.nan)
            whole[:, places] = tokens
            return ask(whole)

        return answer

    def portions(self, advance: Advance | None = None) -> Iterator[Embedded]:
        """Yield the embeddings of a record, or of a part of a long one, at a time."""
        self.tally.restart()
        for given in self.given:
            for portion in given.portions():
                self.tally.count(portion)
                for windows in [] if portion.windows is None else portion.windows.parts():
                    values = ask_windows(
                        self._question(portion.spec),
                        windows.data,
                        batch_size=self.config.batch_size,
                        device=self.device.value,
                    )
                    yield Embedded(portion.source, windows, values)
                if advance is not None:
                    advance(note=portion.record)


@torch.no_grad()
def ask_windows(
    ask: Callable[[Tensor], Tensor], data: NDArray[np.floating], *, batch_size: int, device: str
) -> Values:
    """Return what a model says of each of the windows (N, C, T), some at a time, (N, ...)."""
    answers = []
    for start in range(0, len(data), batch_size):
        signal = torch.from_numpy(data[start : start + batch_size].astype(np.float32, copy=False))
        answers.append(ask(signal.to(device)).float().cpu().numpy())
    return np.concatenate(answers)


def embed(config: EmbedConfig, reporter: Reporter) -> Path:
    """Write the embeddings of everything that is given as a table.

    Returns:
        The file.

    Raises:
        CheckpointError: If the checkpoint can't be read, or does not say how its windows are made.
        DataError: If not one window is there, or none is usable.
        ConfigError: If the device is not there.
    """
    embeddings = Embeddings(config)
    spec = embeddings.encoder.spec
    reporter.fact("encoder", embeddings.file, f"{', '.join(spec.names)}, {spec.duration_s:g} s")
    reporter.fact("device", embeddings.device.value, embeddings.device.why)
    for given in embeddings.given:
        reporter.fact("input", given.name, given.kind)
    table_of = _by_window if config.per == "window" else _by_token
    about = origin(embeddings.file) | {"per": config.per, "channels": ",".join(spec.names)}
    with reporter.progress("embed", sum(map(len, embeddings.given))) as advance:
        tables = (table_of(each, embeddings.encoder) for each in embeddings.portions(advance))
        n_rows = write_tables(config.output, tables, about, embeddings.tally)
    conclude(config.output, n_rows, embeddings.tally, reporter)
    return config.output


def _by_window(embedded: Embedded, encoder: Encoder) -> pa.Table:
    """Return a row for each window."""
    about = about_windows(embedded.source, embedded.windows)
    return pa.table(about | {"embedding": _vectors(embedded.values)})


def _by_token(embedded: Embedded, encoder: Encoder) -> pa.Table:
    """Return a row for each token: of each window, of each channel, of each position in time."""
    n_windows, n_channels, n_positions, width = embedded.values.shape
    window, channel, position = (
        each.ravel() for each in np.indices((n_windows, n_channels, n_positions))
    )
    about = pa.table(about_windows(embedded.source, embedded.windows)).take(pa.array(window))
    names = np.array([each.name for each in encoder.montage()])
    patch_s = encoder.patch_length / encoder.spec.sampling_hz
    starts_s = embedded.windows.start_s[window] + position * patch_s
    return (
        about.append_column("channel", pa.array(names[channel]))
        .append_column("position", pa.array(position.astype(np.int32)))
        .append_column("token_start_s", pa.array(starts_s))
        .append_column("embedding", _vectors(embedded.values.reshape(-1, width)))
    )


def _vectors(values: Values) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
