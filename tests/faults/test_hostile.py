"""Files made to harm: nothing in them is run, leads out of its folder, or fills the memory."""

import ast
import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from biosig_cli.catalog import open_source
from biosig_cli.core import bounds
from biosig_cli.core.bounds import inside
from biosig_cli.core.config import read_file
from biosig_cli.core.errors import BiosigError, CheckpointError, ConfigError, DataError
from biosig_cli.data.parts import read_part
from biosig_cli.data.readers.vital import check_file
from biosig_cli.data.splits import read_splits
from biosig_cli.data.store import open_npz, open_split, open_store
from biosig_cli.data.unpack import gunzip, map_npy, read_npz, read_parquet
from biosig_cli.engine.checkpoint import load_checkpoint
from tests.faults import targets
from tests.recordings import ppg, write_case, write_wfdb
from tests.stores import change_manifest, cut, spec_of, waves, write_clean, write_store

PACKAGE = Path(__file__).parents[2] / "biosig_cli"
MARKER = "harm-was-done"


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder / MARKER)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def objects(folder: Path) -> Any:
    return np.array([Harm(folder)], dtype=object)


def save_npz(path: Path, folder: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict.fromkeys(names, objects(folder)))
    return path


def old_torch(folder: Path) -> None:
    torch.save({"encoder_state_dict": Harm(folder)}, folder / "a.pt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    load_checkpoint(folder / "a.pt")


def new_torch(folder: Path) -> None:
    torch.save({"encoder_state_dict": Harm(folder)}, folder / "a.pt")
    load_checkpoint(folder / "a.pt")


def bare_pickle(folder: Path) -> None:
    (folder / "a.pt").write_bytes(pickle.dumps({"encoder_state_dict": Harm(folder)}))
    load_checkpoint(folder / "a.pt")


def windows_file(folder: Path) -> None:
    open_npz(save_npz(folder / "a.npz", folder, "data", "channels", "sampling_hz"))


def subjects_of_windows(folder: Path) -> None:
    save_npz(folder / "val_windows.npz", folder, "data", "subject")
    open_split(folder, "val")


def part_of_a_build(folder: Path) -> None:
    read_part(save_npz(folder / "1-abc.npz", folder, "facts", "data"))


def shard(folder: Path) -> None:
    write_store(folder / "train", [cut("r", "s", waves(1), spec_of())])
    np.save(folder / "train" / "shards" / "0000.npy", objects(folder), allow_pickle=True)
    store = open_store(folder / "train")
    store.read(np.array([0]))


def own_recordings(folder: Path) -> None:
    targets.sheets("npz")(folder, None)
    save_npz(folder / "r1.npz", folder, "time", "pulse")
    targets.read_ppg(folder)


def segments(folder: Path) -> None:
    targets.segment_table(folder, None)
    np.save(folder / "signals.npy", objects(folder), allow_pickle=True)
    targets.read_segments(folder)


def settings(folder: Path) -> None:
    (folder / "a.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{folder / MARKER}']")
    read_file(folder / "a.yaml")


WITH_CODE = (
    *(old_torch, new_torch, bare_pickle, windows_file, subjects_of_windows, part_of_a_build),
    *(shard, own_recordings, segments, settings),
)


@pytest.mark.parametrize("read", WITH_CODE, ids=lambda read: read.__name__)
def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path, read: Any) -> None:
    with pytest.raises(BiosigError):
        read(tmp_path)
    assert not (tmp_path / MARKER).exists()
    (tmp_path / "control").mkdir()
    pickle.loads(pickle.dumps(Harm(tmp_path / "control")))
    assert (tmp_path / "control" / MARKER).exists(), "the trap itself works"


FORBIDDEN = {
    "pickle": ("load", "loads", "Unpickler"),
    "yaml": ("load", "full_load", "unsafe_load", "load_all"),
    "np": ("load",),
    "torch": ("load",),
    "joblib": ("load",),
    "os": ("system", "popen"),
}
ALLOWED = {"np.load": "unpack.py", "torch.load": "checkpoint.py"}
"""The one file that may, where there is one; what else of them is asked is below."""


def calls() -> list[tuple[Path, ast.Call]]:
    return [
        (path, node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    for path, call in calls():
        said = ast.unparse(call.func)
        named = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert said not in ("eval", "exec", "compile"), f"{path}: {said}"
        module, _, function = said.rpartition(".")
        if function in FORBIDDEN.get(module, ()):
            assert ALLOWED.get(said) == path.name, f"{path}: {said}"
        if said == "np.load":
            assert named["allow_pickle"] == "False", path
        if said == "torch.load":
            assert named["weights_only"] == "True", path
        assert named.get("shell", "False") == "False", path
        assert named.get("verify", "True") == "True", f"{path}: TLS is always checked"
        assert "trust_remote_code" not in named, path


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "C:\\a", "..\\a", "\\\\host\\a", "", " ", "a\0b",
             "a\nb", "é" * 101]
)  # fmt: skip
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="is no name of a file"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "a/b.npy", "sub-01/é ü.edf", "..a", "a..b", "900001"])
def test_a_name_in_its_folder_is_kept(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == tmp_path / name


def test_a_case_that_leads_out_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    out = "../../../../../../../../../../tmp/x"
    (tmp_path / "splits.json").write_text(
        json.dumps({"train": [out], "val": [], "test": [], "meta": {"subjects": {out: "a"}}})
    )
    with pytest.raises(DataError, match="is no name of a file"):
        read_splits(tmp_path / "splits.json")


def test_a_shard_outside_of_its_store_is_refused(tmp_path: Path) -> None:
    data = write_clean(tmp_path / "mine")
    np.save(tmp_path / "secret.npy", np.zeros((12, 2, 1250), np.float16))
    facts = {"file": "../../secret.npy", "n_windows": 12, "sha256": ""}
    change_manifest(data / "train", shards=[facts])
    with pytest.raises(DataError, match="is no name of a file"):
        open_split(data, "train")


def test_an_index_of_twins_can_not_name_files_elsewhere(tmp_path: Path) -> None:
    targets.segment_table(tmp_path, None)
    np.save(tmp_path.parent / "secret.npy", ppg(125.0, 8.0))
    (tmp_path / "denoised_index.json").write_text('{"0": "..\\\\secret.npy"}')
    with pytest.raises(DataError, match="is no name of a file"):
        open_source(str(tmp_path))


def test_samples_outside_of_the_folder_of_their_header_are_refused(tmp_path: Path) -> None:
    targets.brainvision(tmp_path / "eeg", None)
    (tmp_path / "eeg" / "r.eeg").rename(tmp_path / "secret.eeg")
    header = tmp_path / "eeg" / "r.vhdr"
    header.write_text(header.read_text().replace("DataFile=r.eeg", "DataFile=../secret.eeg"))
    with pytest.raises(DataError, match="outside of its folder"):
        targets.read_eeg(tmp_path / "eeg")
    write_wfdb(tmp_path / "wfdb", "r", {"PLETH": ppg(125.0, 9.0)})
    (tmp_path / "wfdb" / "r.dat").rename(tmp_path / "secret.dat")
    header = tmp_path / "wfdb" / "r.hea"
    for name in ("../secret.dat", str(tmp_path / "secret.dat"), "a::http://127.0.0.1:9/b.dat"):
        header.write_text(header.read_text().replace("r.dat", name))
        with pytest.raises(DataError):
            targets.read_ppg(tmp_path / "wfdb")


def test_a_linked_recording_is_still_read(tmp_path: Path) -> None:
    targets.brainvision(tmp_path / "disk", None)
    (tmp_path / "here").mkdir()
    for file in (tmp_path / "disk").iterdir():
        (tmp_path / "here" / file.name).symlink_to(file)
    targets.read_eeg(tmp_path / "here")


def test_references_of_yaml_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    for text in ("\n".join(lines), "a: &a [*a]", "a: &a {b: *a}"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(ConfigError, match="unfolds to more than"):
            read_file(tmp_path / "a.yaml")
    for name, text in {
        "a.yaml": "[" * 5000,
        "a.json": "[" * 100_000,
        "b.yaml": "a: 2020-13-45",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match="not valid"):
            read_file(tmp_path / name)


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have 4 MB of free memory."""
    for module in ("core.bounds", "data.unpack", "data.readers.vital"):
        monkeypatch.setattr(f"biosig_cli.{module}.room_bytes", lambda: 4_000_000)


@pytest.mark.usefixtures("little_room")
def test_an_archive_that_unfolds_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=np.zeros(1_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    with pytest.raises(DataError, match=r"would take .* GB, free are"):
        read_npz(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", data=np.zeros(400_000), big=np.zeros(1_000_000))
    assert len(read_npz(tmp_path / "b.npz", ["data"])["data"]) == 400_000


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(-1,)", "(99, 99)"])
def test_an_array_that_claims_more_than_it_has_is_refused(tmp_path: Path, shape: str) -> None:
    whole = io.BytesIO()
    np.save(whole, np.arange(10.0))
    header = whole.getvalue()[10:128].replace(b"(10,)", shape.encode()).rstrip() + b"\n"
    lying = whole.getvalue()[:8] + struct.pack("<H", len(header)) + header + b"\0" * 80
    (tmp_path / "a.npy").write_bytes(lying)
    with pytest.raises(DataError, match="an array of shape"):
        map_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("data.npy", lying)
    with pytest.raises(DataError, match="an array of shape"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.usefixtures("little_room")
def test_a_gzip_that_unfolds_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(3_000_000))
    with pytest.raises(DataError, match="would take"):
        gunzip(packed, "x.tsv.gz")
    assert len(gunzip(gzip.compress(bytes(1_900_000)), "x")) == 1_900_000
    packet = struct.pack("<BI", 9, 500_000) + bytes(500_000)
    head = b"VITA" + struct.pack("<IH", 3, 27) + bytes(27)
    (tmp_path / "a.vital").write_bytes(gzip.compress(head + 6 * packet))
    assert check_file(tmp_path / "a.vital") == 0.0
    (tmp_path / "a.vital").write_bytes(gzip.compress(head + 10 * packet))
    with pytest.raises(DataError, match=r"a.vital would take"):
        check_file(tmp_path / "a.vital")


def test_a_packet_that_claims_4_gb_takes_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    head = b"VITA" + struct.pack("<IH", 3, 27) + bytes(27)
    packet = struct.pack("<BI", 9, 2**32 - 1) + bytes(100)
    (tmp_path / "a.vital").write_bytes(gzip.compress(head + packet))
    tracemalloc.start()
    with pytest.raises(DataError, match="ends within a packet"):
        check_file(tmp_path / "a.vital")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.usefixtures("little_room")
def test_a_table_that_claims_more_cells_than_fit_is_refused(tmp_path: Path) -> None:
    column = pa.array(np.zeros(2_000_000, np.int8)).dictionary_encode()
    pq.write_table(pa.table({"a": column, "b": column}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    with pytest.raises(DataError, match="would take"):
        read_parquet(tmp_path / "a.parquet")


@pytest.mark.usefixtures("little_room")
def test_a_recording_whose_clock_or_rate_is_absurd_is_refused(tmp_path: Path) -> None:
    # A sample every 8 s makes 1,000 points of the grid from each.
    write_wfdb(tmp_path, "r", {"PLETH": ppg(125.0, 60.0)})
    header = tmp_path / "r.hea"
    header.write_text(header.read_text().replace(" 125 ", " 0.125 "))
    with pytest.raises(DataError, match=r"s of PLETH would take"):
        targets.read_ppg(tmp_path)


def test_the_room_is_part_of_what_is_free_and_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    room = bounds.room_bytes()
    assert 0 < room < 2**50
    monkeypatch.setattr(bounds, "SHARE", 0.0)
    assert bounds.room_bytes() == 0
    with pytest.raises(DataError, match=r"x would take 1 GB, free are 0 GB"):
        bounds.assert_room(2**30, "x")
    with pytest.raises(DataError):
        bounds.assert_room(float("nan"), "x")


def test_what_the_package_of_vital_files_prints_is_not_lost(tmp_path: Path) -> None:
    path = write_case(tmp_path, "1", duration_s=9)
    whole = gzip.decompress(path.read_bytes())
    start = 10 + struct.unpack_from("<H", whole, 8)[0]
    # The package prints "Error in reading file" at such a packet, and goes on with what it has.
    odd = struct.pack("<BI", 0, 1) + b"\0"
    path.write_bytes(gzip.compress(whole[:start] + odd + whole[start:]))
    with pytest.raises(DataError, match="a packet makes no sense"):
        targets.read_vital(tmp_path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    for content in ([1], {"a": 1}, {"encoder_state_dict": {}, "format": "x"}):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "a.pt")


def test_no_template_of_a_page_lets_text_through_as_code() -> None:
    templates = sorted((PACKAGE / "report").rglob("*.html"))
    assert templates
    for path in templates:
        text = path.read_text("utf-8").replace(" ", "")
        assert "|safe" not in text, path
        assert "autoescapefalse" not in text, path
    made = [call for _, call in calls() if ast.unparse(call.func) == "Environment"]
    asked = [{word.arg: ast.unparse(word.value) for word in call.keywords} for call in made]
    assert [each["autoescape"] for each in asked if "loader" in each] == ["True"]


def test_a_segment_that_names_itself_has_an_end(tmp_path: Path) -> None:
    targets.segmented(tmp_path, None)
    (tmp_path / "whole.hea").write_text("whole/2 2 125 1500\na 750\nloop 750\n")
    (tmp_path / "loop.hea").write_text("loop/1 2 125 750\nloop 750\n")
    with pytest.raises(DataError, match="has segments of its own"):
        targets.read_two(tmp_path)


def test_one_bad_header_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    write_wfdb(tmp_path, "good", {"PLETH": ppg(125.0, 9.0)})
    for name, lines in {"out": "../a 9", "minus": "a -9", "none": "a"}.items():
        (tmp_path / f"{name}.hea").write_text(f"{name}/1 1 125 9\n{lines}\n")
    source = open_source(str(tmp_path))
    assert source.ids() == ["good", "minus", "none", "out"]
    assert source.read("good", targets.recipe_of("PLETH").channels).tracks["PLETH"].sampling_hz
    with pytest.raises(DataError, match="names no segment"):
        source.read("out", targets.recipe_of("PLETH").channels)


def test_settings_of_another_type_are_said(tmp_path: Path) -> None:
    from biosig_cli.core.config import load_config
    from biosig_cli.services.prepare_splits import PrepareSplitsConfig

    (tmp_path / "a.yaml").write_text("prepare_splits: mode\n")
    with pytest.raises(ConfigError, match="expected the command's settings, found 'mode'"):
        load_config(PrepareSplitsConfig, file=str(tmp_path / "a.yaml"))


def test_windows_whose_channels_have_no_names_of_their_own_are_refused(tmp_path: Path) -> None:
    facts = {"data": np.zeros((3, 2, 50), "f4"), "sampling_hz": np.array(125.0)}
    np.savez(tmp_path / "a.npz", channels=np.array(["", ""]), **facts)
    with pytest.raises(DataError, match="names must be unique"):
        open_npz(tmp_path / "a.npz")
    odd = np.frombuffer(struct.pack("<4I", 0x20202020, 1, 2, 3), "<U2")
    np.savez(tmp_path / "a.npz", channels=odd, **facts)
    with pytest.raises(DataError, match="it holds text that is none"):
        open_npz(tmp_path / "a.npz")


def test_a_header_that_claims_channels_beyond_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mne

    def claim(*_: Any, **__: Any) -> None:
        raise MemoryError

    targets.brainvision(tmp_path, None)
    monkeypatch.setattr(mne.io, "read_raw_brainvision", claim)
    with pytest.raises(DataError, match=r"header of r.vhdr claims more than the memory"):
        targets.read_eeg(tmp_path)


@pytest.mark.usefixtures("little_room")
def test_a_header_that_states_samples_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    write_wfdb(tmp_path, "r", {"PLETH": ppg(125.0, 9.0)})
    header = tmp_path / "r.hea"
    header.write_text(header.read_text().replace(" 1125\n", " 999999999999\n", 1))
    with pytest.raises(DataError, match=r"1e\+12 samples that r.hea states would take"):
        targets.read_ppg(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("width", 10**8, "larger than the memory"),
        ("width", 10**30, "larger than the memory"),
        ("n_layers", 10**9, "can't be built"),
        ("context_length", 2**63, "can't be built"),
    ],
)
def test_a_model_beyond_all_machines_is_refused(
    tmp_path: Path, key: str, value: int, why: str
) -> None:
    from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint

    targets.checkpoint(tmp_path, None)
    content = load_checkpoint(tmp_path)
    content["model_config"][key] = value
    save_checkpoint(tmp_path / "best_model.pt", content)
    with pytest.raises((ConfigError, CheckpointError), match=why):
        targets.read_checkpoint(tmp_path)


def test_an_eeg_file_without_a_rate_is_refused(tmp_path: Path) -> None:
    from tests.eeg_recordings import tones, write_edf

    write_edf(tmp_path / "r.edf", dict(zip(("F3", "C3"), tones(2, 9.0, 128), strict=True)), 128)
    whole = bytearray((tmp_path / "r.edf").read_bytes())
    whole[244:252] = b"inf     "  # seconds of a data record
    (tmp_path / "r.edf").write_bytes(whole)
    with pytest.raises(DataError, match=r"r.edf states a sampling rate of 0.0 Hz"):
        targets.read_eeg(tmp_path)
