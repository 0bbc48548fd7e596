"""HBN's real events of 70 children: what is expected is computed from the tables alone."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.readers.bids_eeg import BidsEeg, read_events
from biosig_cli.data.record import Record
from biosig_cli.data.segments import windows_at
from biosig_cli.services.build_windows import BuildWindowsConfig
from tests.eeg_recordings import read_onsets, tones, write_edf, write_hbn

TARGETS = ("left_target", "right_target")
PRESSES = ("left_buttonPress", "right_buttonPress")
CUES = {"eyes_open": "instructed_toOpenEyes", "eyes_closed": "instructed_toCloseEyes"}
STEADY_S = {"eyes_open": (5, 19), "eyes_closed": (15, 29)}
MOVIES_S = {
    "DespicableMe": 170.55,
    "DiaryOfAWimpyKid": 117.40,
    "FunwithFractals": 162.99,
    "ThePresent": 203.07,
}
N_MOVIES = {"DespicableMe": 69, "DiaryOfAWimpyKid": 66, "FunwithFractals": 69, "ThePresent": 66}
ODD = {
    "sub-NDARDL511UND_task-FunwithFractals",
    "sub-NDAREG561ML5_task-FunwithFractals",
    "sub-NDARCN669XPR_task-ThePresent",
}


@pytest.fixture(scope="module")
def windows_config():
    return load_config(BuildWindowsConfig, file="eeg_hbn").windows


def tables(real_data: Path, task: str) -> list[Path]:
    found = sorted((real_data / "hbn_r1").glob(f"sub-*/eeg/*_task-{task}*_events.tsv"))
    assert found
    return found


def placed(path: Path, config):
    record = path.name.removesuffix("_events.tsv")
    events = read_events(path)
    return windows_at(
        Record(record, "", {}, events=events),
        config.segments,
        duration_s=config.duration_s,
        step_s=config.step_s,
    )


def trials_of(rows):
    """Return (target onset, reaction time) of each trial: from its start to that of the next."""
    starts = [onset for onset, value in rows if value == "contrastTrial_start"] + [np.inf]
    for start, end in itertools.pairwise(starts):
        targets = [onset for onset, value in rows if value in TARGETS and start <= onset < end]
        if targets:
            first = targets[0]
            presses = [t for t, value in rows if value in PRESSES and first <= t < end]
            yield first, presses[0] - first if presses else np.nan


def test_reaction_times_are_those_of_the_tables(real_data, windows_config):
    every, n_trials = [], 0
    files = tables(real_data, "contrastChangeDetection")
    for path in files:
        expected = list(trials_of(read_onsets(path)))
        windows = [window for window in placed(path, windows_config) if not window.reason]
        assert [w.start_s for w in windows] == pytest.approx([onset + 0.5 for onset, _ in expected])
        found = [window.delays_s["reaction_time"] for window in windows]
        assert found == pytest.approx([delay for _, delay in expected], nan_ok=True), path.name
        every += found
        n_trials += len(windows)
    known = np.array(every)[np.isfinite(every)]
    assert (len(files), n_trials, len(known)) == (154, 4474, 3895)
    assert known.mean() == pytest.approx(1.5418, abs=1e-4)
    assert known.std() == pytest.approx(0.4205, abs=1e-4)
    assert known.max() < 2.5


def test_every_child_opens_its_eyes_six_times_and_closes_them_five_times(real_data, windows_config):
    n_contaminated = 0
    for path in tables(real_data, "RestingState"):
        rows = read_onsets(path)
        values = [value for _, value in rows]
        assert [values.count(CUES[name]) for name in CUES] == [6, 5]
        n_contaminated += any(v.startswith(("video_", "seqLearning")) for v in values)
        expected = set()
        for name, cue in CUES.items():
            begin_s, end_s = STEADY_S[name]
            for onset in (onset for onset, value in rows if value == cue):
                after = [other for other, _ in rows if other > onset]
                stop = min([*after, np.inf])
                starts = onset + np.arange(begin_s, end_s - 1, 2)
                expected |= {(name, round(s, 3)) for s in starts if s + 2 <= stop + 1e-9}
        windows = placed(path, windows_config)
        found = {(w.segment, round(w.start_s, 3)) for w in windows if not w.reason}
        assert found == expected, path.name
        # The last block with open eyes is broken off before its steady part.
        assert len(found) == 7 * 5 + 7 * 5
        assert {w.reason for w in windows if w.reason} == {"eyes_open ended before"}
    assert n_contaminated == 7


def test_movies_share_one_grid_and_those_of_another_length_are_left_out(real_data, windows_config):
    rejected = set()
    for movie, length_s in MOVIES_S.items():
        files = tables(real_data, movie)
        assert len(files) == N_MOVIES[movie]
        for path in files:
            rows = read_onsets(path)
            starts = [onset for onset, value in rows if value == "video_start"]
            stops = [onset for onset, value in rows if value == "video_stop"]
            windows = placed(path, windows_config)
            kept = [window for window in windows if not window.reason]
            is_odd = len(starts) > 1 or abs(stops[-1] - starts[0] - length_s) > 0.1
            if is_odd:
                rejected.add(path.name.removesuffix("_events.tsv"))
                assert not kept
                continue
            seconds = np.arange(0, length_s - 2, 2)
            assert [w.segment for w in kept] == [f"{movie}:{second:g}" for second in seconds]
            # Movie time is the file's time minus the start of the movie, to half a sample.
            samples = np.round([w.start_s * 100 for w in kept]) / 100
            assert np.abs(samples - starts[0] - seconds).max() <= 0.5 / 100 + 1e-9
            assert samples[-1] + 2 <= stops[0] + 0.01
    assert rejected == ODD


def test_without_its_start_time_a_movie_would_be_seconds_apart(real_data):
    starts = []
    for path in tables(real_data, "DespicableMe"):
        starts += [onset for onset, value in read_onsets(path) if value == "video_start"]
    apart = np.abs(np.subtract.outer(starts, starts))[np.triu_indices(len(starts), 1)]
    assert (apart > 0.5).mean() > 0.4


def test_what_channels_tsv_calls_no_eeg_is_none(tmp_path):
    here = tmp_path / "sub-1" / "eeg"
    signals = dict(zip(("E1", "E2"), tones(2, 4.0, 100.0), strict=True))
    write_edf(here / "sub-1_task-x_eeg.bdf", signals, 100.0)
    (here / "sub-1_task-x_channels.tsv").write_text("name\ttype\tunits\nE1\tEOG\tuV\nE2\tEEG\tuV\n")
    source = open_source(str(tmp_path))
    assert isinstance(source, BidsEeg)
    eeg = {"E2": ChannelConfig(kind="eeg", unit="uV", tracks=("E2",))}
    assert list(source.read("sub-1_task-x", eeg).tracks) == ["E2"]
    with pytest.raises(DataError, match=r"has no E1 .*found E2"):
        source.read("sub-1_task-x", {"E1": eeg["E2"].model_copy(update={"tracks": ("E1",)})})


def test_several_releases_side_by_side_are_one_source(real_data, tmp_path):
    children = {"R1": "sub-NDARAG143ARJ", "R2": "sub-NDARAC904DMU"}
    for release, child in children.items():
        write_hbn(real_data / "hbn_r1", tmp_path / release, [child], names=["E1"], tasks="Resting*")
    source = open_source(str(tmp_path))
    assert set(source.subjects().values()) == set(children.values())
    assert set(source.attributes) == {"age", "sex"}
    assert source.attributes["age"].table == "*/participants.tsv"


def test_events_without_a_time_are_none_and_a_word_for_a_time_is_an_error(tmp_path):
    path = tmp_path / "a_events.tsv"
    path.write_text("onset\tvalue\n2.5\tb\nn/a\tlost\n1.0\ta\n")
    assert [(event.onset_s, event.name) for event in read_events(path)] == [(1.0, "a"), (2.5, "b")]
    path.write_text("onset\tvalue\nsoon\tb\n")
    with pytest.raises(DataError, match="has the onset 'soon'"):
        read_events(path)
    path.write_text("onset\twhat\n1.0\tb\n")
    with pytest.raises(DataError, match="has no column trial_type or value; it has onset, what"):
        read_events(path)
