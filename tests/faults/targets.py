"""What is read of files that others made: a good example of each, and how a user reads it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.core.progress import Reporter
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.findings import Part
from biosig_cli.data.integrity import check_content, check_shards
from biosig_cli.data.parts import read_part, write_npz, write_part
from biosig_cli.data.recipe import WindowRecipe, WindowsConfig
from biosig_cli.data.splits import read_splits
from biosig_cli.data.store import open_split, open_store
from biosig_cli.data.windows import cut_record
from biosig_cli.services.labelling import open_labels
from tests.faults import mutate
from tests.recordings import ppg, write_case, write_cases_table, write_wfdb
from tests.stores import cut, spec_of, waves, write_clean, write_store

QUIET = Reporter(silent=True)
Mutator = Callable[[bytes, Any], bytes]


@dataclass(frozen=True)
class Target:
    """A kind of file."""

    make: Callable[[Path, Path | None], None]
    """Writes a good folder; is told where real recordings are, where there are any."""
    damage: tuple[tuple[str, tuple[Mutator, ...]], ...]
    """Pattern of the files that are damaged, and how."""
    read: Callable[[Path], object]
    """Reads the folder as a command would; raises only what is ours."""


def windows_config(**more: Any) -> WindowsConfig:
    facts = {"duration_s": 4.0, "sampling_hz": 125.0, "n_samples": 500, "step_s": 4.0}
    return WindowsConfig.parse(facts | {"max_rate_difference_bpm": 10.0} | more)


def recipe_of(*names: str, kind: str = "ppg", unit: str = "") -> WindowRecipe:
    channels = {
        name: ChannelConfig.parse({"kind": kind, "tracks": [name], "unit": unit}) for name in names
    }
    return WindowRecipe(channels=channels, windows=windows_config())


def read_all(recipe: WindowRecipe) -> Callable[[Path], None]:
    """Return what reads every record of a folder, and cuts it."""

    def read(folder: Path) -> None:
        source = open_source(str(folder))
        problems = []
        source.subjects()
        for record in source.ids():
            source.fingerprint(record)
            try:
                cut_record(source.read(record, recipe.channels), recipe, subject="s")
            except Exception as error:
                problems.append(error)
        labelling = open_labels(source, QUIET)
        for record in source.ids():
            labelling.mark([record])
            labelling.known([record], 4.0)(0, np.array([0.0, 4.0]))
        if problems:
            raise problems[0]

    return read


def one_of(real: Path | None, pattern: str, folder: Path, name: str | None = None) -> bool:
    """Copy a real recording; say whether there is one."""
    found = next(iter(sorted(real.glob(pattern))), None) if real else None
    if found is None:
        return False
    for file in found.parent.glob(f"{found.name.split('.')[0]}.*"):
        shutil.copyfile(file, folder / (name or file.name))
    return True


def vital(folder: Path, real: Path | None) -> None:
    # A track of integers and one of floats.
    write_case(folder, "1", duration_s=12, integers=True)
    write_cases_table(folder, {"1": "a"})


def real_vital(folder: Path, real: Path | None) -> None:
    one_of(real, "vital_recorder_demo/*.vital", folder) or write_case(folder, "1", duration_s=9)


def wfdb(folder: Path, real: Path | None) -> None:
    if not one_of(real, "wfdb/a103l.hea", folder):
        write_wfdb(folder, "a103l", {"PLETH": ppg(250.0, 12.0), "II": ppg(250.0, 12.0)})


def segmented(folder: Path, real: Path | None) -> None:
    for name in ("a", "b"):
        write_wfdb(folder, name, {"PLETH": ppg(125.0, 6.0), "II": ppg(125.0, 6.0)})
    (folder / "whole.hea").write_text("whole/3 2 125 2000\na 750\n~ 500\nb 750\n")


def edf(folder: Path, real: Path | None) -> None:
    from tests.eeg_recordings import tones, write_edf

    signals = dict(zip(("F3", "C3"), tones(2, 10.0, 128), strict=True))
    if not one_of(real, "eeglab/test.edf", folder):
        write_edf(folder / "r.edf", signals, 128, events=[(1.0, "go")])


def eeglab(folder: Path, real: Path | None) -> None:
    if not one_of(real, "eeglab/*.set", folder):
        edf(folder, None)


def brainvision(folder: Path, real: Path | None) -> None:
    from tests.eeg_recordings import tones, write_brainvision

    signals = dict(zip(("F3", "C3"), tones(2, 10.0, 128), strict=True))
    write_brainvision(folder / "r.vhdr", signals, 128, markers=[(1.0, "go")])


def bdf(folder: Path, real: Path | None) -> None:
    from tests.eeg_recordings import tones, write_edf

    signals = dict(zip(("F3", "C3"), tones(2, 10.0, 128), strict=True))
    write_edf(folder / "r.bdf", signals, 128, events=[(1.0, "go")])


def fif(folder: Path, real: Path | None) -> None:
    import mne

    from tests.eeg_recordings import tones

    info = mne.create_info(["F3", "C3"], 128.0, "eeg", verbose=False)
    raw = mne.io.RawArray(tones(2, 10.0, 128) * 1e-6, info, verbose=False)
    raw.set_annotations(mne.Annotations([1.0], [0.0], ["go"]))
    raw.save(folder / "r_eeg.fif", verbose=False)


DATASET = """files: "{files}"
sampling_hz: 50
time: time
columns: {{PLETH: {{column: pulse, unit: a.u.}}}}
labels: {{hr: {{table: labels.tsv, record: record, column: hr}}}}
attributes: {{age: {{table: labels.tsv, record: record, column: age}}}}
"""


def sheets(ending: str) -> Callable[[Path, Path | None], None]:
    def make(folder: Path, real: Path | None) -> None:
        pulse, time = ppg(50.0, 10.0), np.arange(500) / 50
        (folder / "dataset.yaml").write_text(DATASET.format(files=f"*.{ending}"))
        (folder / "labels.tsv").write_text("record\thr\tage\nr1\t72\t30\n")
        file = folder / f"r1.{ending}"
        if ending == "csv":
            rows = [f"{t:.3f},{p:.4f}" for t, p in zip(time, pulse, strict=True)]
            file.write_text("time,pulse\n" + "\n".join(rows) + "\n")
        elif ending == "parquet":
            pq.write_table(pa.table({"time": time, "pulse": pulse}), file)
        else:
            np.savez(file, time=time, pulse=pulse)

    return make


def physio(folder: Path, real: Path | None) -> None:
    import gzip

    name = "sub-01_task-rest_physio"
    rows = "\n".join(f"{value:.4f}\t{value:.3f}" for value in ppg(50.0, 10.0)) + "\n"
    (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (folder / f"{name}.json").write_text(
        '{"SamplingFrequency": 50, "StartTime": 0, "Columns": ["PLETH", "respiratory"], '
        '"PLETH": {"Units": "V"}}'
    )
    (folder / "dataset_description.json").write_text('{"Name": "x", "License": "PDDL"}')
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t30\tF\n")


def hbn(folder: Path, real: Path | None) -> None:
    edf(folder, None)
    name = "sub-01_task-rest"
    (folder / "r.edf").rename(folder / f"{name}_eeg.edf")
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t9\tF\n")
    (folder / "dataset_description.json").write_text('{"Name": "x", "License": "CC0"}')
    (folder / f"{name}_channels.tsv").write_text("name\ttype\tunits\nF3\tEEG\tuV\nC3\tEEG\tuV\n")
    (folder / f"{name}_events.tsv").write_text("onset\tduration\tvalue\n1.0\tn/a\tgo\n")


def segment_table(folder: Path, real: Path | None) -> None:
    n = 3
    np.save(folder / "signals.npy", np.stack([ppg(125.0, 8.0)] * n))
    columns = {"segment_id": range(n), "subject_id": ["a", "b", "c"], "fs": [125.0] * n}
    pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), folder / "table.parquet")
    (folder / "denoised").mkdir()
    for each in range(n):
        np.save(folder / "denoised" / f"{each}.npy", ppg(125.0, 8.0))
    named = ", ".join(f'"{each}": "denoised/{each}.npy"' for each in range(n))
    (folder / "denoised_index.json").write_text(f"{{{named}}}")


def read_segments(folder: Path) -> None:
    source, recipe = open_source(str(folder)), recipe_of("PLETH")
    source.subjects()
    for record in source.ids():
        source.fingerprint(record)
        cut_record(source.read(record, recipe.channels), recipe, subject="s")
        source.targets(record, recipe.channels)


SPLITS = """{"train": ["1", "2"], "val": ["3"], "test": ["4"], "meta": {"format": 1, "seed": 42,
"mode": "fasttrack", "source": "SOURCE", "kind": "x", "case_set": null, "dataset": null,
"subjects": {"1": "a", "2": "a", "3": "b", "4": "c"}}}"""


def split_file(folder: Path, real: Path | None) -> None:
    for case in "1234":
        write_case(folder / "in", case, duration_s=9)
    (folder / "splits.json").write_text(SPLITS)


def build_from(folder: Path) -> None:
    """Build from a split file that someone gave us."""
    from biosig_cli.services import split_store
    from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows

    split_store.write_quality = lambda *_, **__: None
    split_store.draw_some = lambda *_, **__: None
    read_splits(folder / "splits.json")
    facts = {"split_file": folder / "splits.json", "outdir": folder / "w", "workers": 1}
    facts |= {"source": str(folder / "in"), "split": "train"}
    config = BuildWindowsConfig.parse(facts)
    windows = config.windows.model_copy(update={"duration_s": 4.0, "n_samples": 500, "step_s": 4.0})
    build_windows(config.model_copy(update={"windows": windows}), QUIET)


def store(folder: Path, real: Path | None) -> None:
    write_clean(folder)


def read_store(folder: Path) -> None:
    """Open every split, read each window and column, and look it through as `audit` does."""
    for split in ("train", "val", "test"):
        opened = open_split(folder, split)
        opened.physical(np.arange(len(opened)))
        for name in ("record", "subject", "start_s", *(f"label_{each}" for each in opened.labels)):
            opened.column(name)
        str((opened.subjects, opened.digest, opened.n_bytes, opened.attributes))
        part = Part(folder, split, opened)
        check_content(part)
        check_shards(part)


def npz_store(folder: Path, real: Path | None) -> None:
    write_store(folder / "train", [cut("r", "s", waves(1), spec_of())])
    write_npz(open_store(folder / "train"), folder / "val_windows.npz")
    shutil.rmtree(folder / "train")


def read_npz(folder: Path) -> None:
    opened = open_split(folder, "val")
    opened.physical(np.arange(len(opened)))
    str((opened.subjects, opened.digest, opened.column("start_s")))


def part_file(folder: Path, real: Path | None) -> None:
    write_part(folder / "1.npz", cut("r", "s", waves(1), spec_of()))


def configs(folder: Path, real: Path | None) -> None:
    for name in ("eeg", "but_ppg", "ssl_pretrain", "finetune_but_ppg", "windows"):
        shutil.copyfile(Path(__file__).parents[2] / f"configs/{name}.yaml", folder / f"{name}.yaml")


def read_configs(folder: Path) -> None:
    from biosig_cli.services.build_windows import BuildWindowsConfig
    from biosig_cli.services.finetune import FinetuneConfig
    from biosig_cli.services.prepare_splits import PrepareSplitsConfig
    from biosig_cli.services.pretrain_config import PretrainConfig

    pairs = {
        "eeg": BuildWindowsConfig,
        "but_ppg": BuildWindowsConfig,
        "windows": PrepareSplitsConfig,
        "ssl_pretrain": PretrainConfig,
        "finetune_but_ppg": FinetuneConfig,
    }
    for name, config in pairs.items():
        load_config(config, file=str(folder / f"{name}.yaml"))


@cache
def _checkpoint() -> bytes:
    import io

    import torch

    from biosig_cli.models.ttm import TtmConfig

    model = TtmConfig.parse({"width": 16, "n_layers": 2, "n_levels": 1})
    encoder = model.build(spec_of())
    content = {"format": 1, "encoder_state_dict": encoder.state_dict(), "spec": spec_of().dump()}
    content |= {"model_config": model.dump(), "lineage": [], "data": {"subjects": ["a"]}}
    content |= {"position": {"step": 3, "epoch": 1}, "best_val_loss": 0.5, "config": {}}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def checkpoint(folder: Path, real: Path | None) -> None:
    (folder / "best_model.pt").write_bytes(_checkpoint())


def checkpoint_values(folder: Path, real: Path | None) -> None:
    """Write what a checkpoint says of itself where it can be damaged, beside the checkpoint."""
    import json

    import torch

    checkpoint(folder, real)
    content = torch.load(folder / "best_model.pt", weights_only=True)
    plain = {key: each for key, each in content.items() if key != "encoder_state_dict"}
    (folder / "values.json").write_text(json.dumps(plain))


def read_checkpoint_values(folder: Path) -> None:
    import json

    import torch

    content = torch.load(folder / "best_model.pt", weights_only=True)
    try:
        said = json.loads((folder / "values.json").read_text("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return
    torch.save({**content, **said} if isinstance(said, dict) else said, folder / "best_model.pt")
    read_checkpoint(folder)


def read_checkpoint(folder: Path) -> None:
    from biosig_cli.catalog import load_encoder
    from biosig_cli.engine.checkpoint import newest_checkpoint

    load_encoder(folder)
    newest_checkpoint(folder, QUIET)


BYTES, TEXT, JSON = mutate.ANY, (mutate.text,), (mutate.json_of,)
ZIP, NPY, GZIPPED = (mutate.zip_of,), (mutate.npy,), (mutate.inside_gzip(mutate.bytes_of),)
DEMO = WindowRecipe(
    channels={"PPG": ChannelConfig(kind="ppg", tracks=("Intellivue/PLETH", "SNUADC/PLETH"))},
    windows=windows_config(),
)
read_vital = read_all(recipe_of("SNUADC/PLETH", "SNUADC/ECG_II", unit="mV"))
read_ppg, read_two = read_all(recipe_of("PLETH")), read_all(recipe_of("PLETH", "II"))
read_eeg = read_all(recipe_of("F3", "C3", kind="eeg"))
read_physio = read_all(recipe_of("PLETH", unit="V"))


def _read_part(folder: Path) -> None:
    read_part(folder / "1.npz")


def sheet(ending: str, how: Mutator) -> Target:
    damage = ((f"*.{ending}", (how,)), ("dataset.yaml", TEXT), ("labels.tsv", TEXT))
    return Target(sheets(ending), damage, read_ppg)


VHDR = (("*.vhdr", TEXT), ("*.vmrk", TEXT), ("*.eeg", BYTES))
PHYSIO = (("*.tsv.gz", (mutate.inside_gzip(mutate.text),)), ("*.json", JSON), ("*.tsv", TEXT))
SEGMENTS = (("*.npy", NPY), ("*.parquet", BYTES), ("*.json", JSON))
STORE = (("*/manifest.json", JSON), ("*/index.parquet", BYTES), ("*/shards/*", NPY))
TARGETS = {
    "vital": Target(vital, (("*.vital", GZIPPED), ("cases.csv", TEXT)), read_vital),
    "vital_recorder": Target(real_vital, (("*.vital", GZIPPED),), read_all(DEMO)),
    "wfdb": Target(wfdb, (("*.hea", TEXT), ("*.[dm]at", BYTES)), read_two),
    "wfdb_segments": Target(segmented, (("*.hea", TEXT),), read_two),
    "edf": Target(edf, (("*.edf", (mutate.fields, mutate.bytes_of)),), read_eeg),
    "bdf": Target(bdf, (("*.bdf", (mutate.fields, mutate.bytes_of)),), read_eeg),
    "fif": Target(fif, (("*.fif", BYTES),), read_eeg),
    "eeglab": Target(eeglab, (("*.*", BYTES),), read_eeg),
    "brainvision": Target(brainvision, VHDR, read_eeg),
    "bids_eeg": Target(hbn, (("*.tsv", TEXT), ("*.json", JSON)), read_eeg),
    "bids_physio": Target(physio, PHYSIO, read_physio),
    "csv": sheet("csv", mutate.text),
    "parquet": sheet("parquet", mutate.bytes_of),
    "npz": sheet("npz", mutate.zip_of),
    "segment_table": Target(segment_table, SEGMENTS, read_segments),
    "split_file": Target(split_file, (("splits.json", JSON),), build_from),
    "store": Target(store, STORE, read_store),
    "npz_store": Target(npz_store, (("*.npz", ZIP),), read_npz),
    "part": Target(part_file, (("*.npz", ZIP),), _read_part),
    "config": Target(configs, (("*.yaml", TEXT),), read_configs),
    "checkpoint": Target(checkpoint, (("*.pt", ZIP),), read_checkpoint),
    "checkpoint_values": Target(checkpoint_values, (("*.json", JSON),), read_checkpoint_values),
}
"""By name; each is tried with inputs that its name and a number decide."""
