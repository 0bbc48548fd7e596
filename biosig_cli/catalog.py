"""Every kind of thing that a config or a flag may name, on one page."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from biosig_cli.core.config import read_file
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.runtime import Environment, Machine, choose_cache
from biosig_cli.data.dataset import DATASET_FILE, DatasetConfig, read_dataset
from biosig_cli.data.readers.base import Source
from biosig_cli.data.readers.bids_eeg import BidsEeg
from biosig_cli.data.readers.bids_physio import BidsPhysio
from biosig_cli.data.readers.but_ppg import ButPpg
from biosig_cli.data.readers.csv_folder import CsvFolder
from biosig_cli.data.readers.eeg_folder import EegFolder
from biosig_cli.data.readers.segments import SegmentTable
from biosig_cli.data.readers.tuh import TuhFolder
from biosig_cli.data.readers.vital import VitalFolder
from biosig_cli.data.readers.vitaldb import VITALDB, VitalDb
from biosig_cli.data.readers.wfdb_folder import WfdbFolder

if TYPE_CHECKING:
    from biosig_cli.models.base import Encoder

FOLDERS = (
    VitalFolder,
    ButPpg,
    BidsEeg,
    BidsPhysio,
    WfdbFolder,
    SegmentTable,
    TuhFolder,
    EegFolder,
)
"""Kinds of folders that are recognised by their content, the more special ones first."""


def open_source(
    source: str,
    dataset: DatasetConfig | None = None,
    *,
    cache: Path | None = None,
    offline: bool | None = None,
) -> Source:
    """Open VitalDB, or a folder of recordings, whose kind is recognised by what is in it.

    Args:
        source: `vitaldb`, or the path of the folder.
        dataset: What the recipe says of it; otherwise a `dataset.yaml` in it is asked.
        cache: Folder that downloads are kept in; the machine's own if not given.
        offline: Download nothing; as `BIOSIG_OFFLINE` says if not given.

    Raises:
        ConfigError: If `dataset` contradicts the folder's own dataset.yaml.
        DataError: If there is no such folder, nothing in it is known, or VitalDB can't be had.
    """
    if source == VITALDB:
        machine = Environment()
        kept_in = choose_cache(cache or machine.cache, Machine.detect(devices=False))
        is_offline = bool(machine.offline if offline is None else offline)
        return VitalDb(
            machine.vitaldb_url, Path(kept_in.value), dataset=dataset, offline=is_offline
        )
    folder = Path(source).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise DataError(f"the source {source} is {what}", hint="give the folder: --source FOLDER")
    dataset = _description(folder, dataset)
    if dataset is not None and dataset.describes_files:
        return _with_records(CsvFolder(folder, dataset), source, dataset.files)
    for kind in FOLDERS:
        if kind.is_in(folder):
            return kind(folder, dataset)
    raise DataError(
        f"no kind of recordings recognised in {source}: looked for "
        f"{'; '.join(kind.looks_for for kind in FOLDERS)}; and for a {DATASET_FILE} with "
        f"`columns`; found {_contents(folder)}",
        hint=f"describe CSV, Parquet or npz files in a {DATASET_FILE}, or give another "
        "--source FOLDER",
    )


def open_recording(file: Path, dataset: DatasetConfig | None = None) -> tuple[Source, str]:
    """Open the folder that a recording's file is in, and say which of its records it is.

    Args:
        file: One of a recording's files.
        dataset: What is known of the folder; otherwise a `dataset.yaml` in it is asked.

    Raises:
        ConfigError: If `dataset` contradicts a dataset.yaml beside the file.
        DataError: If it is no recording of a known kind.
    """
    # A file of BIDS is described by others, up to the root of its data set.
    root = next((p for p in file.parents if (p / "dataset_description.json").is_file()), None)
    folder = root or file.parent
    dataset = _description(folder, dataset)
    sources: Iterable[Source] = (kind(folder, dataset) for kind in FOLDERS if kind.is_in(folder))
    if dataset is not None and dataset.describes_files:
        sources = [CsvFolder(folder, dataset)]
    for source in sources:
        record = source.record_at(file)
        if record is not None:
            return source, record
    raise DataError(
        f"{file} is no recording of a known kind: looked for "
        f"{'; '.join(kind.looks_for for kind in FOLDERS)}",
        hint="give the folder, or describe CSV, Parquet or npz files in a dataset.yaml beside it",
    )


def _description(folder: Path, stated: DatasetConfig | None) -> DatasetConfig | None:
    """Return how a folder is described: by its own file, or by what the recipe has `stated`.

    Raises:
        ConfigError: If both do, and say different things.
    """
    path = folder / DATASET_FILE
    if not path.is_file():
        return stated
    own = read_dataset(read_file(path), path)
    if stated is not None and stated != own:
        raise ConfigError(
            f"{path} and the recipe's `dataset:` describe the same folder, and differently",
            hint=f"--set dataset=null takes {DATASET_FILE}; to take the recipe's, move the file "
            "away",
        )
    return own


def _with_records(source: CsvFolder, folder: str, pattern: str) -> Source:
    if not source.ids():
        raise DataError(
            f"{folder} holds no file like {pattern}", hint="check `files` of the dataset"
        )
    return source


def _contents(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + more


def load_encoder(path: Path) -> "Encoder":
    """Return the encoder in a checkpoint, or in a run folder; nothing else is needed.

    Raises:
        CheckpointError: If it can't be read, or its weights do not fit its own settings.
        ConfigError: If it states a model that is larger than the memory.
    """
    # Here, so that the commands that only read recordings need not load torch.
    from biosig_cli.engine.checkpoint import load_checkpoint
    from biosig_cli.models.kinds import build_encoder, read_model
    from biosig_cli.models.weights import load_weights
    from biosig_cli.signal.spec import SignalSpec

    content = load_checkpoint(path)
    model = read_model(content["model_config"], str(path))
    encoder = build_encoder(model, SignalSpec.parse(content["spec"]))
    load_weights(encoder, content["encoder_state_dict"], source=str(path))
    return encoder.eval()
