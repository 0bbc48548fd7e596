"""The models that are evaluated, as their checkpoints describe them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from biosig_cli.catalog import load_encoder
from biosig_cli.core.artifacts import sha256
from biosig_cli.core.errors import BiosigError, CheckpointError, ConfigError
from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.checkpoint import find_checkpoint, lineage, load_checkpoint
from biosig_cli.engine.predict import predict
from biosig_cli.models.base import Encoder
from biosig_cli.models.heads import pool
from biosig_cli.models.inflate import Inflation, inflate_weights
from biosig_cli.models.kinds import build_encoder, read_model
from biosig_cli.models.rhythm import RhythmReader
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.signal.spec import SignalSpec
from biosig_cli.tasks.base import Answering
from biosig_cli.tasks.kinds import AnyTask

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is evaluated.

    Attributes:
        name: What the report calls it.
        path: Its file.
        content: What it holds.
        encoder: Tokens from windows.
        head: An answer from tokens; None for a pretrained encoder.
        task: What it answers; None for a pretrained encoder.
    """

    name: str
    path: Path
    content: Mapping[str, Any]
    encoder: Encoder
    head: nn.Module | None
    task: AnyTask | None

    @property
    def folder(self) -> Path:
        """The run that it belongs to."""
        return self.path.parent

    @property
    def past(self) -> tuple[Mapping[str, Any], ...]:
        """Every run that shaped it."""
        return lineage(self.content, str(self.path), "")

    @property
    def threshold(self) -> float | None:
        """The probability from which on it says class 1, as validation chose it."""
        chosen = self.content["metrics"].get("val_threshold")
        return None if chosen is None else float(chosen)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it needs; none where it takes those that windows have."""
        is_open = self.head is None and self.encoder.any_montage
        return () if is_open else self.encoder.spec.names

    def fitted_to(self, spec: SignalSpec) -> "Candidate":
        """Return it for windows of `spec`; itself where it has channels of its own.

        Raises:
            ConfigError: If the windows are sampled at another rate.
        """
        own = self.encoder.spec
        if self.channels or spec == own:
            return self
        if spec.sampling_hz != own.sampling_hz:
            raise ConfigError(
                f"{self.path} was trained on windows at {own.sampling_hz:g} Hz, these are at "
                f"{spec.sampling_hz:g} Hz",
                hint="build the windows with its sampling rate",
            )
        architecture = read_model(self.content["model_config"], str(self.path))
        encoder = build_encoder(architecture, spec)
        load_weights(encoder, self.encoder.state_dict(), source=str(self.path))
        return replace(self, encoder=encoder.eval())

    def describe(self) -> dict[str, Any]:
        """Return what the report says of it."""
        parent = self.content.get("parent") or {}
        modules = [self.encoder, *([self.head] if self.head else [])]
        return {
            "name": self.name,
            "checkpoint": str(self.path),
            "sha256": sha256(self.path),
            "n_parameters": sum(p.numel() for module in modules for p in module.parameters()),
            "channels": list(self.encoder.spec.names),
            "epoch": self.content["epoch"],
            "parent": parent.get("source", ""),
        }


def open_candidates(paths: Sequence[Path]) -> list[Candidate]:
    """Open checkpoints; each is called as its folder is.

    Raises:
        CheckpointError: If one can't be read, or two are the same.
    """
    files = [find_checkpoint(path) for path in paths]
    if len(set(files)) < len(files):
        raise CheckpointError("the same checkpoint is given twice")
    folders = [file.resolve().parent.name for file in files]
    return [
        open_candidate(file, folder if folders.count(folder) == 1 else str(file))
        for file, folder in zip(files, folders, strict=True)
    ]


def open_candidate(file: Path, name: str) -> Candidate:
    """Open one checkpoint, with the head of its task if it has one.

    Raises:
        CheckpointError: If it can't be read, or its weights do not fit its own settings.
    """
    content = load_checkpoint(file)
    encoder = load_encoder(file)
    if "head_state_dict" not in content:
        return Candidate(name, file, content, encoder, None, None)
    task: AnyTask = TypeAdapter(AnyTask).validate_python(content["task"])
    head = task.head.build(len(encoder.montage()), encoder.width, task.n_outputs)
    load_weights(head, content["head_state_dict"], source=f"{file} (head)")
    return Candidate(name, file, content, encoder, head.eval(), task)


@dataclass(frozen=True)
class Asking:
    """How windows are put to models: all their channels are read, each model gets its own."""

    batch_size: int
    device: str

    def answer(self, model: Candidate, store: WindowStore, rows: NDArray[np.int64]) -> Values:
        """Return probabilities (N, K) or values (N,) of the windows at `rows`."""
        assert model.head is not None
        assert model.task is not None
        whole = Answering(model.encoder, model.head, model.task)
        return self._ask(whole, model.encoder, store, rows, lambda each, signal: each(signal))

    def embed(
        self,
        encoder: Encoder,
        store: WindowStore,
        rows: NDArray[np.int64],
        reader: RhythmReader | None = None,
    ) -> Values:
        """Return one vector for each of the windows at `rows`, (N, F): its tokens, or a reading."""

        def ask(each: nn.Module, signal: Tensor) -> Tensor:
            tokens = each(signal).tokens
            return pool(tokens) if reader is None else reader.to(tokens.device)(tokens).summary()

        return self._ask(encoder, encoder, store, rows, ask)

    def _ask(
        self,
        model: nn.Module,
        encoder: Encoder,
        store: WindowStore,
        rows: NDArray[np.int64],
        ask: Callable[[nn.Module, Tensor], Tensor],
    ) -> Values:
        places = store.spec.positions(encoder.spec.names)
        data = Loader(store, batch_size=self.batch_size, seed=0, shuffle=False, rows=rows)
        return predict(
            model, data, device=self.device, ask=lambda each, signal: ask(each, signal[:, places])
        )


def random_twin(model: Candidate, seed: int) -> Encoder:
    """Return an encoder of the same architecture and channels with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        architecture = read_model(model.content["model_config"], str(model.path))
        return build_encoder(architecture, model.encoder.spec).eval()


@dataclass(frozen=True)
class Frozen:
    """An encoder that no label has touched, and what reads the rhythm from its tokens."""

    encoder: Encoder
    reader: RhythmReader | None


def frozen(model: Candidate) -> Frozen:
    """Return a pretrained encoder as it is."""
    return Frozen(model.encoder, find_reader(model.content, model.encoder))


def find_reader(content: Mapping[str, Any], encoder: Encoder) -> RhythmReader | None:
    """Return the reader that was pretrained with an encoder, if the rhythm was asked for."""
    weights = owned_by("rhythm.reader", content.get("decoder_state_dict", {}))
    if not weights:
        return None
    reader = RhythmReader(encoder.width)
    load_weights(reader, weights, source="the reader of the rhythm")
    return reader.eval()


def find_pretrained(model: Candidate) -> tuple[Frozen | None, str]:
    """Return the encoder that a fine-tuned model started from, and why there is none.

    Only the very file that it started from will do; it is given the model's channels.
    """
    parent = model.content.get("parent")
    if model.head is None or not parent:
        return None, ""
    try:
        file = find_checkpoint(Path(parent["source"]))
        if sha256(file) != parent["sha256"]:
            return None, f"{file} is not the encoder that {model.name} started from any more"
        content, encoder = load_checkpoint(file), load_encoder(file)
    except (BiosigError, OSError, KeyError) as error:
        return None, f"the encoder that {model.name} started from can't be probed: {error}"
    weights = encoder.state_dict()
    if not encoder.any_montage:
        config, known = model.content["config"], encoder.spec.names
        wanted = model.encoder.spec.names
        inflation = Inflation(known, wanted, config["map"], config["init"], config["seed"])
        weights, _ = inflate_weights(weights, encoder.channel_dims, inflation)
    twin = random_twin(model, 0)
    load_weights(twin, weights, source=str(file))
    return Frozen(twin, find_reader(content, twin)), ""
