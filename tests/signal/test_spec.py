import json

import pytest

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.signal.spec import Channel, SignalSpec

CHANNELS = (
    Channel(name="PPG", kind="ppg", unit="V"),
    Channel(name="II", kind="ecg"),
    Channel(name="Cz", kind="eeg", position=(0.0, 0.0, 1.0)),
)
SPEC = SignalSpec(channels=CHANNELS, sampling_hz=125.0, n_samples=1250)


def test_a_spec_says_what_a_window_holds():
    assert SPEC.names == ("PPG", "II", "Cz")
    assert SPEC.kinds == ("ppg", "ecg", "eeg")
    assert SPEC.n_channels == 3
    assert SPEC.duration_s == 10.0


def test_channels_are_chosen_by_name_in_the_order_asked_for():
    assert SPEC.positions(["Cz", "PPG"]) == [2, 0]
    chosen = SPEC.select(["Cz", "PPG"])
    assert chosen.channels == (CHANNELS[2], CHANNELS[0])
    assert (chosen.sampling_hz, chosen.n_samples) == (125.0, 1250)


def test_a_channel_that_is_not_there_is_named_beside_those_that_are():
    with pytest.raises(DataError, match="channel ABP not found; there are PPG, II, Cz") as refused:
        SPEC.select(["PPG", "ABP"])
    assert "--channels PPG,II,Cz" in refused.value.hint


def test_a_spec_comes_back_from_json_and_only_electrodes_have_a_position():
    written = json.loads(SPEC.model_dump_json())
    assert SignalSpec.parse(written) == SPEC
    assert ["position" in channel for channel in written["channels"]] == [False, False, True]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("channels", [], "at least 1"),
        ("channels", [{"name": "A", "kind": "ppg"}] * 2, r"must be unique, found \['A', 'A'\]"),
        ("channels", [{"name": "A", "kind": "abp"}], "'ppg', 'ecg'"),
        ("sampling_hz", 0.0, "greater than 0"),
        ("n_samples", 0, "greater than 0"),
    ],
)
def test_a_spec_of_no_window_is_refused(key, value, said):
    with pytest.raises(ConfigError, match=said):
        SignalSpec.parse(json.loads(SPEC.model_dump_json()) | {key: value})


def test_one_channel_of_one_sample_below_a_hertz_is_a_window():
    spec = SignalSpec(channels=CHANNELS[:1], sampling_hz=0.5, n_samples=1)
    assert spec.duration_s == 2.0
