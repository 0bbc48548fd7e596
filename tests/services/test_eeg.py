"""EEG from files to stores, by the shipped recipes, as their users do it."""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.store import open_npz, open_split
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.eeg_recordings import tones, write_edf, write_hbn

QUIET = Reporter(silent=True)
NAMES = ("E22", "E9", "E75", "Cz")
KEPT, ODD, HELD_OUT, EXCLUDED = (
    "sub-NDARAG143ARJ",
    "sub-NDARDL511UND",  # another movie in place of FunwithFractals
    "sub-NDARAC904DMU",
    "sub-NDARAN385MDH",
)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing is tested elsewhere, and takes longer than everything here."""
    monkeypatch.setattr("biosig_cli.services.split_store.draw_some", lambda *_: None)
    monkeypatch.setattr("biosig_cli.services.split_store.write_quality", lambda *_, **__: None)


def chain(tmp_path, recipe, source, *, settings=(), split=()):
    splits = prepare_splits(
        load_config(
            PrepareSplitsConfig,
            file=recipe,
            settings=split,
            flags={"source": str(source), "output": tmp_path},
        ),
        QUIET,
    )
    flags = {"split_file": splits.path, "outdir": tmp_path / "windows", "workers": 1}
    config = load_config(BuildWindowsConfig, file=recipe, settings=settings, flags=flags)
    return splits.splits, build_windows(config, QUIET)


def test_rest_and_arithmetic_of_real_people(real_data, tmp_path):
    splits, result = chain(tmp_path, "eeg", real_data / "eegmat")
    assert set(splits.subjects.values()) == {f"Subject{n:02d}" for n in (0, 1, 4, 5, 6, 7, 8, 13)}
    assert result.n_windows > 900
    store = open_split(result.outdir, "train")
    assert store.spec.n_channels == 19
    assert {channel.kind for channel in store.spec.channels} == {"eeg"}
    assert all(
        np.linalg.norm(channel.position) == pytest.approx(1, abs=1e-3)
        for channel in store.spec.channels
    )
    assert store.labels == ("arithmetic",)
    assert store.attributes == ("age", "sex")
    is_rest = store.column("label_arithmetic") == 0
    named = [str(record).endswith("_1") for record in store.column("record")]
    assert is_rest.tolist() == named
    frequencies, power = signal.welch(store.physical(np.flatnonzero(is_rest)), 100.0, nperseg=200)
    typical = np.median(power, axis=0)
    alpha = typical[:, (frequencies >= 8) & (frequencies <= 12)].mean(axis=1)
    by_place = dict(zip(store.spec.names, alpha, strict=True))
    # With the eyes closed at rest, alpha is at the back of the head.
    assert min(by_place["O1"], by_place["O2"]) > 1.5 * max(by_place["Fp1"], by_place["F7"])
    assert typical[:, frequencies > 47].max() < 1e-4 * alpha.min()


def test_one_scale_per_recording_is_kept_with_its_windows(real_data, tmp_path):
    _, result = chain(
        tmp_path, "eeg", real_data / "eegmat", settings=["channels.EEG.electrodes=[O1,Fp1]"]
    )
    store = open_split(result.outdir, "train")
    assert store.spec.names == ("O1", "Fp1")
    scales = np.stack([store.column(f"scale_{name}") for name in store.spec.names], axis=1)
    records = store.column("record").astype(str)
    assert (scales[:, 0] == scales[:, 1]).all()
    for record in set(records):
        assert len(set(scales[records == record, 0].tolist())) == 1
    assert len(set(scales[:, 0].tolist())) == len(set(records))


def test_all_electrodes_are_those_that_most_recordings_have(tmp_path):
    for name, there in (("a", "Cz Pz"), ("b", "Pz Cz"), ("c", "Pz Cz"), ("d", "Pz Oz")):
        wave = dict(zip(there.split(), tones(2, 6.0, 100.0), strict=True))
        write_edf(tmp_path / "in" / f"s{name}_1.edf", wave | {"ECG": wave["Pz"]}, 100.0)
    settings = ["channels.EEG.electrodes=all", "dataset={}"]
    splits = ["dataset={'subject': '(s.)_'}"]
    splits, result = chain(tmp_path, "eeg", tmp_path / "in", settings=settings, split=splits)
    built = [each.manifest for each in result.splits.values()]
    assert {tuple(c["name"] for c in each["spec"]["channels"]) for each in built} == {("Pz", "Cz")}
    skipped = {case: why for each in built for case, why in each["skipped"].items()}
    assert list(skipped) == ["sd_1"]
    assert "has no Cz" in skipped["sd_1"]


@pytest.fixture
def hbn(real_data, tmp_path):
    source = real_data / "hbn_r1"
    people = (KEPT, ODD, HELD_OUT, EXCLUDED)
    folder = write_hbn(source, tmp_path / "hbn", people, names=NAMES, tasks="[DFR]*")
    write_hbn(source, folder, [KEPT], names=NAMES, tasks="contrast*")
    table = folder / "participants.tsv"
    lines = table.read_text("utf-8").splitlines()
    table.write_text(
        "\n".join(x.replace("\tR1\t", "\tR5\t") if HELD_OUT in x else x for x in lines), "utf-8"
    )
    return folder


def test_the_road_of_hbn_on_real_tables(hbn, tmp_path):
    nine = load_config(PrepareSplitsConfig, file="eeg_hbn").dataset.exclude
    assert len(nine) == 9
    splits, result = chain(
        tmp_path,
        "eeg_hbn",
        hbn,
        # By this seed alone the held-out child would be in train.
        split=[f"dataset.exclude=[{EXCLUDED}]", "seed=1"],
        settings=["channels.EEG.electrodes=[E22,E9,E75,Cz]"],
    )
    assert {splits.subjects[case] for case in splits.cases["test"]} == {HELD_OUT}
    inside = {splits.subjects[case] for case in splits.cases["train"] + splits.cases["val"]}
    assert inside == {KEPT, ODD}
    stores = {split: open_split(result.outdir, split) for split in result.splits}
    for store in stores.values():
        assert store.spec.names == NAMES
        # The reference is marked, and is nowhere blown up to noise.
        assert set(store.column("constant")) == {"Cz"}
        assert np.abs(store.read(np.arange(len(store)))[:, 3]).max() < 1e-3
        assert store.labels[-1] == "reaction_time"
        # One scale for all, in which the reference has no say.
        moving = store.physical(np.arange(len(store)))[:, :3]
        spread = 1.4826 * np.median(np.abs(moving - np.median(moving)))
        assert np.median(store.column("scale_E22")) == pytest.approx(spread, rel=0.05)
        subject = store.column("subject")[0]
        row = next(x for x in (hbn / "participants.tsv").read_text().splitlines() if subject in x)
        assert store.column("subject_age")[0] == pytest.approx(float(row.split("\t")[3]), rel=1e-6)
    segments = {split: store.column("segment").astype(str) for split, store in stores.items()}
    mine = "train" if KEPT in stores["train"].subjects else "val"
    names, counts = np.unique(segments[mine], return_counts=True)
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert (found["eyes_open"], found["eyes_closed"]) == (35, 35)
    assert found["DespicableMe:168"] == 1
    rt = stores[mine].column("label_reaction_time")
    assert np.isfinite(rt).any()
    assert set(segments[mine][np.isfinite(rt)]) == {"contrastChangeDetection"}
    # Movie time is shared between people, and an interrupted movie is in none of it.
    shared = {each for each in segments["test"] if each.startswith("DespicableMe:")}
    assert shared == {f"DespicableMe:{k}" for k in range(0, 169, 2)}
    other = "val" if mine == "train" else "train"
    assert not any(each.startswith("FunwithFractals") for each in segments[other])
    dropped = result.splits[other].manifest["dropped"]
    assert dropped["FunwithFractals of another length"] == 2 * 81


def test_recordings_of_other_tasks_are_counted_and_not_read(hbn, tmp_path):
    _, result = chain(
        tmp_path,
        "eeg_hbn",
        hbn,
        settings=[
            "channels.EEG.electrodes=[E22,E75]",
            "windows.segments=[{name: closed, records: _task-RestingState, "
            "anchor: [instructed_toCloseEyes], from_s: 15, to_s: 29, until: ['*']}]",
        ],
    )
    skipped = [w for each in result.splits.values() for w in each.manifest["skipped"].values()]
    assert skipped
    assert set(skipped) == {"of no segment: its id fits the `records` of none"}
    assert result.n_windows == 4 * 35


def test_where_nobody_is_to_be_held_out_all_are_split(hbn, tmp_path):
    config = load_config(
        PrepareSplitsConfig,
        file="eeg_hbn",
        settings=["hold_out.values=[R9]"],
        flags={"source": str(hbn), "output": tmp_path},
    )
    splits = prepare_splits(config, QUIET).splits
    assert [splits.n_subjects(split) for split in ("train", "val", "test")] == [2, 1, 1]
    assert splits.meta["how"] == "subjects, 70 / 15 / 15; nobody is of release_number R9"


def test_positions_and_what_is_known_go_into_the_exchange_file(hbn, tmp_path):
    _, result = chain(
        tmp_path,
        "eeg_hbn",
        hbn,
        settings=["channels.EEG.electrodes=[E22,Cz]", "format=npz"],
    )
    store = open_split(result.outdir, "test")
    exchanged = open_npz(result.outdir / "test_windows.npz")
    assert exchanged.spec == store.spec
    assert exchanged.spec.channels[0].position is not None


def test_a_channel_without_a_position_is_written_as_before(windows):
    manifest = json.loads((windows / "train" / "manifest.json").read_text())
    assert set(manifest["spec"]["channels"][0]) == {"name", "kind", "unit"}


def test_mne_is_asked_for_where_it_is_missing(monkeypatch, tmp_path):
    write_edf(tmp_path / "a.edf", {"Cz": tones(1, 4.0, 100.0)[0]}, 100.0)
    monkeypatch.setattr("biosig_cli.signal.electrodes.find_spec", lambda _: None)
    flags = {"source": str(tmp_path), "output": tmp_path}
    config = load_config(PrepareSplitsConfig, file="eeg", flags=flags)
    with pytest.raises(ConfigError, match="mne, which is not installed") as error:
        prepare_splits(config, QUIET)
    assert "biosig[eeg]" in error.value.hint


def test_reaction_times_of_a_real_person_go_with_their_windows(real_data, tmp_path):
    for name in ("s1", "s2", "s3"):  # one of each split
        for ending in ("set", "fdt"):
            there = real_data / "eeglab" / f"eeglab_data.{ending}"
            here = tmp_path / "in" / (f"{name}.set" if ending == "set" else there.name)
            here.parent.mkdir(exist_ok=True)
            here.write_bytes(there.read_bytes())
    segment = (
        "{name: square, anchor: [square], from_s: -0.2, to_s: 0.8, trial: [square], "
        "delays: {reaction_time: [rt]}}"
    )
    _, result = chain(
        tmp_path,
        "eeg",
        tmp_path / "in",
        split=["dataset={'subject': '(s[0-9])'}"],
        settings=[
            "dataset={'subject': '(s[0-9])'}",
            "channels.EEG.electrodes=[Fz,Cz,Pz,Oz]",
            f"windows.segments=[{segment}]",
            "windows.duration_s=1.0",
            "windows.n_samples=100",
            "windows.step_s=1.0",
        ],
    )
    store = open_split(result.outdir, "train")
    delays = store.column("label_reaction_time")
    oz = {"Oz": ChannelConfig(kind="eeg", unit="uV", tracks=("Oz",))}
    events = open_source(str(real_data / "eeglab")).read("eeglab_data", oz).events
    squares = np.array([event.onset_s for event in events if event.name == "square"])
    presses = np.array([event.onset_s for event in events if event.name == "rt"])
    assert store.column("start_s") == pytest.approx(squares - 0.2, abs=0.005)
    first = [presses[(presses >= a) & (presses < b)][:1] for a, b in pairwise([*squares, np.inf])]
    expected = [
        each[0] - a if len(each) else np.nan for each, a in zip(first, squares, strict=True)
    ]
    assert delays == pytest.approx(expected, abs=1e-4, nan_ok=True)
    known = delays[np.isfinite(delays)]
    assert len(known) == 74
    assert np.median(known) == pytest.approx(0.406, abs=0.002)
    assert (known.min(), known.max()) == pytest.approx((0.33, 0.73), abs=0.01)
    facts = store.manifest["labels"]["reaction_time"]
    assert (facts["unit"], facts["known"]) == ("s", 74)
