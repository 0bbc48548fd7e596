import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError, DataError, LeakageError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_store
from biosig_cli.services.audit import AuditConfig, audit, check_before_scoring
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.stores import change_manifest, cut, spec_of, waves, write_clean, write_store

QUIET = Reporter(silent=True)
SAME_PATIENT = {f"9000{number}": f"bidmc{number}" for number in ("01", "02", "12", "18", "31")}
OTHERS = ("900003", "900006", "900021", "900025", "900039")


def findings_of(*stores, **settings):
    """Return the findings that an audit writes, as (kind, split, record, start_s)."""
    output = Path(stores[0]).parent / "findings.json"
    with pytest.raises(LeakageError) as caught:
        audit(AuditConfig(stores=stores, output=output, **settings), QUIET)
    assert caught.value.exit_code == 6
    found = json.loads(output.read_text("utf-8"))["findings"]
    return {(f["kind"], f["split"], f["record"], f["start_s"]) for f in found}


def save_run(folder, **data):
    folder.mkdir()
    content = {"format": 1, "encoder_state_dict": {}, "data": data}
    torch.save(content, folder / "best_model.pt")
    return folder


def test_a_clean_set_passes_with_what_was_checked(tmp_path, capsys):
    write_clean(tmp_path / "a")
    assert run(["audit", str(tmp_path / "a"), "--output", str(tmp_path / "f.json")]) == 0
    said = capsys.readouterr().out
    assert "clean" in said
    assert "checked 96 windows" in said
    written = json.loads((tmp_path / "f.json").read_text("utf-8"))
    assert written["findings"] == []
    assert written["notes"] == []
    assert {"check": "waveforms", "n": 96, "of": "windows with all others"} in written["checked"]


def test_leakage_exits_6_with_a_table_that_names_rows(tmp_path, capsys):
    write_clean(tmp_path / "a")
    write_store(tmp_path / "a" / "test", [cut("new", "s1", waves(77), spec_of())])
    output = tmp_path / "findings.csv"
    assert run(["audit", str(tmp_path / "a"), "--output", str(output)]) == 6
    said = capsys.readouterr()
    assert "a subject stands in two splits: 1 finding" in said.out
    assert "new" in said.out
    assert "not clean" in said.err
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["record"], row["split"], row["n_windows"]) for row in rows] == [
        ("new", "test", "12")
    ]


def test_waveforms_are_compared_between_data_sets(tmp_path):
    write_clean(tmp_path / "a")
    write_clean(tmp_path / "b", first=20)
    audit(AuditConfig(stores=(tmp_path / "a", tmp_path / "b")), QUIET)
    copy = cut("copy", "new", waves(2)[:, 400:], spec_of(), starts_s=[20.0])
    write_store(tmp_path / "b" / "test", [copy])
    found = findings_of(tmp_path / "a", tmp_path / "b")
    assert found == {("waveform", "test", "copy", 20.0)}
    result = audit(AuditConfig(stores=(tmp_path / "a", tmp_path / "b"), quick=True), QUIET)
    assert "no sample was read" in result.report.notes[-1]


def test_a_pretraining_run_is_held_against_test(tmp_path):
    write_clean(tmp_path / "a")
    store = open_store(tmp_path / "a" / "train")
    fine = {"digest": store.digest, "n_windows": 48, "subjects": list(store.subjects)}
    clean = save_run(tmp_path / "clean", train=fine)
    audit(AuditConfig(stores=(tmp_path / "a",), pretrained=(clean,)), QUIET)
    saw = save_run(tmp_path / "saw", train=fine | {"subjects": ["s6"]})
    found = findings_of(tmp_path / "a", pretrained=(clean, saw))
    assert found == {("pretrained", "test", "r6", 0.0)}


def _not_a_number(folder):
    shard = np.load(folder / "shards" / "0000.npy")
    shard[5, 1, 40] = np.nan
    np.save(folder / "shards" / "0000.npy", shard)


@pytest.mark.parametrize(
    "damage",
    [
        _not_a_number,
        lambda d: (d / "shards" / "0000.npy").unlink(),
        lambda d: (d / "shards" / "0000.npy").write_bytes(b"nothing"),
        lambda d: (d / "index.parquet").write_bytes(b"PAR1"),
        lambda d: (d / "manifest.json").write_text("{"),
        lambda d: (d / "manifest.json").unlink(),
        lambda d: change_manifest(d, n_windows=23),
        lambda d: change_manifest(d, n_windows="many"),
        lambda d: change_manifest(d, spec={"channels": []}),
        lambda d: change_manifest(d, shards=[{"n_windows": 24}]),
        lambda d: change_manifest(d, shards=[]),
    ],
    ids=[
        "NaN",
        "no shard",
        "no array",
        "no index",
        "half a manifest",
        "no manifest",
        "count",
        "no count",
        "no spec",
        "no file",
        "no shards",
    ],
)
def test_a_damaged_store_is_a_finding_and_no_traceback(tmp_path, damage):
    write_clean(tmp_path / "a")
    damage(tmp_path / "a" / "test")
    found = findings_of(tmp_path / "a")
    assert {kind for kind, *_ in found} == {"content"}
    assert {split for _, split, *_ in found} == {"test"}
    if damage is _not_a_number:
        assert ("content", "test", "r6", 50.0) in found


def test_what_can_not_be_audited_is_refused(tmp_path):
    with pytest.raises(DataError, match="no windows in"):
        audit(AuditConfig(stores=(tmp_path,)), QUIET)
    write_clean(tmp_path / "a", format=9)
    with pytest.raises(DataError, match="format 9"):
        audit(AuditConfig(stores=(tmp_path / "a",)), QUIET)
    with pytest.raises(ConfigError, match="neither"):
        audit(AuditConfig(stores=(tmp_path / "a",), output=tmp_path / "f.txt"), QUIET)
    assert run(["audit"]) == 2


def test_one_split_alone_says_that_little_was_checked(tmp_path, capsys):
    write_clean(tmp_path / "a")
    assert run(["audit", str(tmp_path / "a" / "test")]) == 0
    assert "nothing across splits was checked" in capsys.readouterr().out


def test_the_cheap_part_stops_scoring(tmp_path):
    write_clean(tmp_path, labels={"quality": {"derived_from": ["ECG"]}})
    splits = ("train", "val", "test")
    stores = {split: open_store(tmp_path / split, channels=["PPG"]) for split in splits}
    assert check_before_scoring(tmp_path, stores, QUIET).findings == []
    both = {split: open_store(tmp_path / split) for split in splits}
    with pytest.raises(LeakageError, match="own channel") as error:
        check_before_scoring(tmp_path, both, QUIET)
    assert "--set label_channels_allowed=true" in error.value.hint
    past = [
        {"checkpoint": "its parent", "data": {"train": {"subjects": ["s7"]}}},
        {"checkpoint": "run", "data": {"train": {"subjects": ["s1"]}}},
    ]
    with pytest.raises(LeakageError, match="pretraining saw a test subject"):
        check_before_scoring(tmp_path, stores, QUIET, past=past)


@pytest.fixture(scope="module")
def bidmc(real_data, tmp_path_factory) -> Path:
    """The WFDB records, written as CSV from 3.34 s on, so that windows are cut elsewhere."""
    wfdb = pytest.importorskip("wfdb")
    folder = tmp_path_factory.mktemp("bidmc")
    for header in sorted((real_data / "bidmc_wfdb").glob("bidmc??.hea")):
        record = wfdb.rdrecord(str(header.with_suffix("")))
        names = [name.strip(", ") for name in record.sig_name]
        samples = record.p_signal[418:, [names.index("PLETH"), names.index("II")]]
        np.savetxt(folder / f"{header.stem}.csv", samples, "%.4f", ",", header="p,e", comments="")
    (folder / "dataset.yaml").write_text(
        "sampling_hz: 125\nsubject: (.*)\ncolumns: {PPG: {column: p}, ECG: {column: e}}\n"
    )
    return _build(folder, folder / "windows")


@pytest.fixture(scope="module")
def vital(real_data, tmp_path_factory) -> Path:
    """Ten patients: those five and five others."""
    folder = tmp_path_factory.mktemp("vital")
    table = (real_data / "vital" / "cases.csv").read_text("utf-8").splitlines()
    cases = [*SAME_PATIENT, *OTHERS]
    lines = [line for line in table if line.split(",")[0] in (*cases, "caseid")]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", "utf-8")
    for case in cases:
        (folder / f"{case}.vital").symlink_to(real_data / "vital" / f"{case}.vital")
    return _build(folder, folder / "stores")


def _build(source: Path, folder: Path) -> Path:
    config = PrepareSplitsConfig(source=str(source), mode="full", output=folder)
    splits = prepare_splits(config, QUIET)
    build = BuildWindowsConfig(split_file=splits.path, outdir=folder / "windows", workers=1)
    return build_windows(build, QUIET).outdir


def test_patients_of_vital_are_recognized_in_wfdb_and_nobody_else(vital, bidmc):
    found = findings_of(vital, bidmc)
    assert {kind for kind, *_ in found} == {"waveform"}
    written = json.loads((vital.parent / "findings.json").read_text("utf-8"))["findings"]
    pairs = set()
    for finding in written:
        twin = finding["against"].split("record ")[1].split(" ")[0]
        pairs.add(tuple(sorted((finding["record"], twin))))
    assert pairs == set(SAME_PATIENT.items())
    starts = {(each["record"], each["start_s"]) for each in written if each["record"] != ""}
    # 48 windows of each patient overlap; those that the gate dropped are not there to be found.
    assert len(starts) > 5 * 44
