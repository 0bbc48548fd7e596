import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.record import Event, Record, Track
from biosig_cli.data.segments import SegmentConfig, is_wanted, windows_at
from biosig_cli.data.windows import WindowRecipe, WindowsConfig, cut_record

CLOSED = SegmentConfig(
    name="closed", anchor=("close",), from_s=15, to_s=29, until=("*",), records="_task-rest"
)
MOVIE = SegmentConfig(
    name="film", anchor=("start",), until=("stop",), to_s=10, tolerance_s=0.1, is_timed=True
)
TRIAL = SegmentConfig(
    name="trial",
    anchor=("left", "right"),
    from_s=0.5,
    to_s=2.5,
    trial=("trial",),
    delays={"rt": ("press_*",)},
)


def record(*events, duration_s=60.0, sampling_hz=100.0, name="sub-1_task-rest"):
    times = np.arange(round(duration_s * sampling_hz)) / sampling_hz
    track = Track(times.astype(np.float32), sampling_hz, "uV")
    marked = tuple(Event(onset_s, what) for onset_s, what in events)
    return Record(name, "1", {"Cz": track}, events=marked)


def ask(segment, *events, step_s=2.0):
    return windows_at(record(*events), [segment], duration_s=2.0, step_s=step_s)


def recipe(segments, **more):
    windows = {
        "duration_s": 2.0, "sampling_hz": 100.0, "n_samples": 200, "step_s": 2.0,
        "normalization": "none", "gate": "missing", "segments": segments,
    }  # fmt: skip
    return WindowRecipe.parse(
        {
            "channels": {"Cz": {"kind": "other", "unit": "uV", "tracks": ["Cz"]}},
            "windows": WindowsConfig.parse(windows | more).dump(),
        }
    )


def test_a_block_holds_windows_in_its_steady_part():
    windows = ask(CLOSED, (10.0, "close"), (50.0, "open"))
    assert [window.start_s for window in windows] == [25, 27, 29, 31, 33, 35, 37]
    assert {(window.segment, window.reason) for window in windows} == {("closed", "")}


def test_no_window_of_a_block_goes_past_the_next_event():
    windows = ask(CLOSED, (10.0, "close"), (30.5, "seqLearning_start"))
    assert [window.reason for window in windows] == ["", ""] + 5 * ["closed ended before"]


def test_a_movie_of_another_length_has_no_windows_but_they_are_counted():
    right = ask(MOVIE, (3.0, "start"), (13.1, "stop"))
    assert [window.segment for window in right] == [
        "film:0",
        "film:2",
        "film:4",
        "film:6",
        "film:8",
    ]
    assert not any(window.reason for window in right)
    odd = ask(MOVIE, (3.0, "start"), (13.2, "stop"))
    assert [window.reason for window in odd] == 5 * ["film of another length"]
    stopped = ask(MOVIE, (3.0, "start"), (8.0, "start"), (18.0, "stop"))
    played = {window.start_s for window in stopped if not window.reason}
    assert played == {8, 10, 12, 14, 16}
    assert sum(window.reason == "film of another length" for window in stopped) == 5
    endless = ask(MOVIE, (3.0, "start"))
    assert all(window.reason for window in endless)


def test_a_reaction_is_the_first_press_of_the_same_trial():
    windows = ask(
        TRIAL,
        *[(0.0, "left"), (0.4, "press_left")],  # before the first trial
        *[(1.0, "trial"), (1.2, "press_left"), (2.0, "right"), (3.1, "press_left")],
        *[(3.5, "press_right"), (5.0, "trial"), (6.0, "left"), (10.0, "trial")],
        *[(10.5, "press_left"), (11.0, "left"), (11.2, "right"), (12.5, "press_right")],
    )
    assert [window.reason for window in windows] == [
        "trial outside a trial", "", "", "", "trial outside a trial",
    ]  # fmt: skip
    assert [window.start_s for window in windows] == [0.5, 2.5, 6.5, 11.5, 11.7]
    expected = [np.nan, 1.1, np.nan, 1.5, np.nan]
    assert [w.delays_s["rt"] for w in windows] == pytest.approx(expected, nan_ok=True)


def test_without_marked_trials_a_reaction_comes_before_the_next_stimulus():
    segment = TRIAL.model_copy(update={"trial": ()})
    windows = ask(segment, (1.0, "left"), (4.0, "right"), (4.5, "press_left"))
    assert [w.delays_s["rt"] for w in windows] == pytest.approx([np.nan, 0.5], nan_ok=True)


def test_a_record_without_the_events_says_which_it_has():
    with pytest.raises(DataError, match=r"no event left or right .* its events are blink"):
        ask(TRIAL, (1.0, "blink"))


def test_without_an_anchor_a_segment_begins_with_the_recording():
    rest = SegmentConfig(name="rest", anchor=(), from_s=2.0, to_s=9.0)
    cut = cut_record(record((30.0, "blink")), recipe([rest.dump()]), subject="1")
    assert cut.columns["start_s"].tolist() == [2, 4, 6]
    assert set(cut.columns["segment"].tolist()) == {"rest"}


def test_segments_of_another_task_are_not_wanted():
    assert is_wanted("sub-1_task-rest", [CLOSED])
    assert not is_wanted("sub-1_task-film", [CLOSED])
    assert is_wanted("sub-1_task-film", [])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"to_s": 0.0}, "is no stretch of time"),
        ({"until": (), "tolerance_s": 0.1}, "tolerance_s needs `until`"),
        ({"name": "a:b"}, "a name has no colon"),
        ({"records": "("}, "is no regular expression"),
        ({"anchor": (), "delays": {"rt": ["press"]}}, "a trial needs `anchor`"),
    ],
)
def test_a_segment_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        SegmentConfig.parse(MOVIE.dump() | wrong)


def test_windows_begin_on_the_sample_next_to_their_moment():
    onset_s = 3.0158  # nearer to 3.02 than to 3.01
    cut = cut_record(
        record((onset_s, "start"), (onset_s + 10, "stop")), recipe([MOVIE.dump()]), subject="1"
    )
    wanted = onset_s + np.arange(5) * 2
    assert np.abs(cut.columns["start_s"] - wanted).max() <= 0.5 / 100
    assert cut.data[:, 0, 0].astype(float) == pytest.approx(cut.columns["start_s"], abs=0.01)
    assert cut.columns["segment"].tolist() == [f"film:{k}" for k in (0, 2, 4, 6, 8)]
    assert cut.columns["segment_s"].tolist() == [0, 2, 4, 6, 8]


def test_an_event_past_the_end_is_counted_and_never_moved():
    late = record((1.0, "left"), (58.5, "right"), (61.0, "left"))
    segment = TRIAL.model_copy(update={"trial": ()})
    cut = cut_record(late, recipe([segment.dump()]), subject="1")
    assert cut.columns["start_s"].tolist() == [1.5]
    assert cut.dropped == {"outside the recording": 2}
    assert cut.n_cut == 3


def test_every_window_may_be_without_room():
    cut = cut_record(record((59.0, "left")), recipe([TRIAL.dump() | {"trial": []}]), subject="1")
    assert len(cut.data) == 0
    assert cut.dropped == {"outside the recording": 1}


def test_edges_and_short_recordings_have_no_windows():
    cut = cut_record(record(), recipe([], edge_s=20.0), subject="1")
    assert cut.columns["start_s"].tolist() == list(range(20, 40, 2))
    with pytest.raises(DataError, match="60 s is short, wanted are recordings of 61 s"):
        cut_record(record(), recipe([], min_record_s=61.0), subject="1")


def test_a_recipe_without_segments_is_the_recipe_it_was():
    known = recipe([]).identity()["windows"]
    assert not {"segments", "edge_s", "min_record_s", "max_bad_channels", "denoise"} & set(known)
    assert "segments" in recipe([MOVIE.dump()]).identity()["windows"]
    assert "position" not in recipe([]).identity()["channels"]["Cz"]


def test_a_segment_holds_at_least_one_window():
    with pytest.raises(ConfigError, match=r"segment film lasts 1\.5 s, a window 2 s"):
        recipe([MOVIE.dump() | {"to_s": 1.5}])
