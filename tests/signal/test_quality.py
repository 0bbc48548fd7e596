import numpy as np
import pytest
from waves import SAMPLING_HZ, beat_times_s, ecg, ppg

from biosig_cli.core.errors import ConfigError, SignalError
from biosig_cli.signal import quality
from biosig_cli.signal.beats import ecg_beats, ppg_beats
from biosig_cli.signal.filters import ButterworthConfig, ChebyshevIIConfig, zero_phase
from biosig_cli.signal.quality import QualityConfig, Rule, judge, rules
from biosig_cli.signal.spec import Channel, SignalSpec

N_WINDOWS, N_SAMPLES = 6, 1250
STARTS = np.arange(N_WINDOWS) * N_SAMPLES
PPG_FILTER = ChebyshevIIConfig(low_hz=0.5, high_hz=10.0)
ECG_FILTER = ButterworthConfig(low_hz=0.5, high_hz=40.0)


def _spec(**kinds):
    channels = tuple(Channel(name=name, kind=kind) for name, kind in kinds.items())
    return SignalSpec(channels=channels, sampling_hz=SAMPLING_HZ, n_samples=N_SAMPLES)


BOTH = _spec(PPG="ppg", ECG="ecg")


def _windows(*signals):
    return np.stack([signal.reshape(-1, N_SAMPLES) for signal in signals], axis=1)


def _judge(pulse, heart, **settings):
    """Filter and judge one minute of PPG and ECG, as a record would be."""
    clean = [
        zero_phase(x, f.design(SAMPLING_HZ), sampling_hz=SAMPLING_HZ, settle_s=f.settle_s)
        for x, f in ((pulse, PPG_FILTER), (heart, ECG_FILTER))
    ]
    beats = {"PPG": ppg_beats(clean[0], SAMPLING_HZ), "ECG": ecg_beats(clean[1], SAMPLING_HZ)}
    return judge(
        _windows(*clean), _windows(pulse, heart), BOTH, starts=STARTS, beats=beats, **settings
    )


@pytest.fixture
def pulse_and_heart():
    times_s = beat_times_s(75, 60.0, jitter=0.03)
    noise = 0.005 * np.random.default_rng(1).normal(size=(2, 7500))
    return ppg(times_s + 0.1, 60.0) + noise[0], ecg(times_s, 60.0) + noise[1]


def test_clean_windows_are_kept_and_measured(pulse_and_heart):
    verdicts = _judge(*pulse_and_heart)
    assert verdicts.reason.tolist() == [""] * N_WINDOWS
    assert verdicts.kept.all()
    for name in ("PPG", "ECG"):
        np.testing.assert_allclose(verdicts.values[f"{name}_rate_bpm"], 75.0, atol=2.0)
        assert (verdicts.values[f"{name}_quality"] > 0.85).all()
    assert (verdicts.values["rate_difference_bpm"] < 2.0).all()
    assert (verdicts.values["PPG_skewness"] > 0).all()


def test_a_clean_irregular_heart_is_kept_although_it_is_not_periodic():
    times_s = beat_times_s(80, 60.0, jitter=0.4, seed=3)
    verdicts = _judge(ppg(times_s + 0.1, 60.0, dicrotic=0.0), ecg(times_s, 60.0))
    assert verdicts.values["ECG_periodicity"].min() < 0.3
    assert not verdicts.broken["aperiodic ECG"].any()
    assert not verdicts.broken["aperiodic PPG"].any()


def test_tall_extra_beats_do_not_make_a_clean_ecg_aperiodic():
    times_s = beat_times_s(75, 60.0, jitter=0.03)
    clock_s = np.arange(7500) / SAMPLING_HZ
    extra = np.exp(-(((clock_s - times_s[::3, None]) / 0.05) ** 2)).sum(axis=0)
    heart = ecg(times_s, 60.0) - 3 * extra
    verdicts = _judge(ppg(times_s + 0.1, 60.0), heart)
    assert verdicts.kept.all()
    assert (verdicts.values["ECG_quality"][1:] > 0.5).all()  # 0.38 if tall beats counted for more


def test_a_tall_artefact_among_pulses_lowers_the_score_of_a_ppg(pulse_and_heart):
    pulse, heart = pulse_and_heart
    pulse[1800:1900] += 5 * np.sin(2 * np.pi * np.arange(100) / 100)
    score = _judge(pulse, heart).values["PPG_quality"]
    assert score[1] < 0.5  # 0.89 if all pulses counted alike
    assert (np.delete(score, 1) > 0.9).all()


def test_each_fault_is_named_in_its_window_and_nowhere_else(pulse_and_heart):
    pulse, heart = pulse_and_heart
    heart[1250:1650] = heart[1249]  # window 1: a lead falls off for 3.2 s
    pulse[2500:3750] = np.clip(pulse[2500:3750], 0.15, 0.2)  # window 2: between two rails
    pulse[3750:5000] = np.random.default_rng(2).normal(size=1250)  # window 3: noise only
    verdicts = _judge(pulse, heart)
    assert verdicts.reason[[1, 2, 3]].tolist() == ["flat ECG", "clipped PPG", "aperiodic PPG"]
    assert verdicts.kept[[0, 4, 5]].all()


def test_rates_that_disagree_are_dropped_where_both_channels_look_fine():
    verdicts = _judge(
        ppg(beat_times_s(70, 60.0), 60.0), ecg(beat_times_s(100, 60.0, jitter=0.01), 60.0)
    )
    assert set(verdicts.reason) == {"rates disagree"}
    np.testing.assert_allclose(verdicts.values["rate_difference_bpm"], 30.0, atol=2.0)
    lenient = QualityConfig(max_rate_difference_bpm=40.0)
    again = _judge(
        ppg(beat_times_s(70, 60.0), 60.0),
        ecg(beat_times_s(100, 60.0, jitter=0.01), 60.0),
        config=lenient,
    )
    assert again.kept.all()


def test_too_few_beats_are_counted_against_the_config(pulse_and_heart):
    verdicts = _judge(*pulse_and_heart, config=QualityConfig(min_cycles=20))
    assert set(verdicts.reason) == {"few beats PPG"}
    assert verdicts.broken["few beats ECG"].all()


def test_the_callers_score_wins_over_the_configs(pulse_and_heart):
    verdicts = _judge(*pulse_and_heart, min_quality={"ECG": 1.0})
    assert set(verdicts.reason) == {"aperiodic ECG"}


def test_a_missing_sample_comes_first_and_leaves_no_figures(pulse_and_heart):
    pulse, heart = (x.copy() for x in pulse_and_heart)
    windows = _windows(pulse, heart)
    unfiltered = windows.copy()
    windows[2, 1, 7] = np.nan
    beats = {"PPG": ppg_beats(pulse, SAMPLING_HZ), "ECG": ecg_beats(heart, SAMPLING_HZ)}
    verdicts = judge(windows, unfiltered, BOTH, starts=STARTS, beats=beats)
    assert verdicts.reason.tolist() == ["", "", "missing", "", "", ""]
    assert np.isnan(verdicts.values["ECG_quality"][2])
    assert np.isfinite(verdicts.values["PPG_quality"][2])
    assert np.isnan(verdicts.values["rate_difference_bpm"][2])


def test_rules_about_the_heart_never_touch_acceleration_or_eeg():
    noise = np.random.default_rng(0).normal(size=(N_WINDOWS, 2, N_SAMPLES))
    noise[:, 0] = 0.0  # a watch at rest
    verdicts = judge(
        noise, noise, _spec(ACC_X="acc", Fz="eeg"), starts=STARTS, beats={}, config=None
    )
    assert verdicts.kept.all()
    assert list(verdicts.broken) == ["missing", "flat eeg", "clipped eeg"]
    assert set(verdicts.values) == {"eeg_flat", "eeg_clipped"}


def test_some_loose_electrodes_are_no_reason_to_drop_a_window_but_many_are():
    names = [f"E{number}" for number in range(1, 9)]
    spec = _spec(**dict.fromkeys(names, "eeg"))
    noise = np.random.default_rng(0).normal(size=(N_WINDOWS, 8, N_SAMPLES))
    noise[1, :2] = 0.0  # 2 of 8 flat, a quarter
    noise[2, :3] = 0.0
    noise[3, :3] = np.clip(2 * np.sin(np.arange(N_SAMPLES) / 10), -1, 1)
    verdicts = judge(noise, noise, spec, starts=STARTS, beats={})
    assert verdicts.reason.tolist() == ["", "", "flat eeg", "clipped eeg", "", ""]
    np.testing.assert_allclose(verdicts.values["eeg_flat"][:3], [0, 0.25, 0.375])
    strict = QualityConfig(max_bad_channels=0.2)
    assert judge(noise, noise, spec, starts=STARTS, beats={}, config=strict).reason[1] == "flat eeg"


def test_a_reference_is_not_asked_whether_it_stands_still():
    spec = _spec(Fz="eeg", Cz="eeg")
    noise = np.random.default_rng(0).normal(size=(N_WINDOWS, 2, N_SAMPLES))
    noise[:, 1] = 0.0
    assert not judge(noise, noise, spec, starts=STARTS, beats={}).kept.any()
    known = judge(noise, noise, spec, starts=STARTS, beats={}, constant=["Cz"])
    assert known.kept.all()
    noise[:, 0] = 0.0
    assert not judge(noise, noise, spec, starts=STARTS, beats={}, constant=["Cz"]).kept.any()
    # Nothing lies beyond all of a window.
    lenient = QualityConfig(max_flat=1.0, max_clipped=1.0)
    assert judge(noise, noise, spec, starts=STARTS, beats={}, config=lenient).kept.all()


def test_rules_are_asked_in_the_documented_order(pulse_and_heart):
    assert list(_judge(*pulse_and_heart).broken) == [
        "missing",
        "flat PPG",
        "flat ECG",
        "clipped PPG",
        "clipped ECG",
        "few beats PPG",
        "few beats ECG",
        "aperiodic PPG",
        "aperiodic ECG",
        "rates disagree",
    ]


def test_windows_that_do_not_match_their_spec_or_lack_beats_are_refused():
    windows = np.zeros((N_WINDOWS, 2, N_SAMPLES))
    with pytest.raises(SignalError, match="ECG is ecg, but no beats"):
        judge(windows, windows, BOTH, starts=STARTS, beats={"PPG": STARTS})
    with pytest.raises(SignalError, match=r"unfiltered windows have shape \(6, 2, 1000\)"):
        judge(windows, windows[..., :1000], BOTH, starts=STARTS, beats={})


def test_no_windows_give_no_verdicts():
    nothing = np.empty((0, 2, N_SAMPLES))
    none = np.empty(0, np.int64)
    verdicts = judge(nothing, nothing, BOTH, starts=none, beats={"PPG": none, "ECG": none})
    assert verdicts.reason.shape == verdicts.kept.shape == (0,)


def test_the_score_of_a_ppg_is_the_mean_of_likeness_and_concentration(pulse_and_heart):
    values = _judge(*pulse_and_heart).values
    mean = (values["PPG_similarity"] + values["PPG_concentration"]) / 2
    np.testing.assert_allclose(values["PPG_quality"], mean)
    np.testing.assert_allclose(values["ECG_quality"], values["ECG_similarity"])


def test_white_and_drifting_noise_score_below_the_shipped_limit():
    rng = np.random.default_rng(0)
    for noise, n_above in ((rng.normal(size=75_000), 0), (rng.normal(size=75_000).cumsum(), 6)):
        clean = zero_phase(
            noise, PPG_FILTER.design(SAMPLING_HZ), sampling_hz=SAMPLING_HZ, settle_s=2.0
        )
        starts = np.arange(60) * N_SAMPLES
        verdicts = judge(
            clean.reshape(60, 1, -1),
            noise.reshape(60, 1, -1),
            _spec(PPG="ppg"),
            starts=starts,
            beats={"PPG": ppg_beats(clean, SAMPLING_HZ)},
        )
        assert (verdicts.values["PPG_quality"] > 0.45).sum() <= n_above


def test_a_gate_for_missing_samples_records_every_rule_and_drops_for_one(pulse_and_heart):
    pulse, heart = pulse_and_heart
    pulse[:625] = pulse[0]  # half of the first window stands still
    heart[3 * N_SAMPLES + 5] = np.nan
    clean = np.nan_to_num(heart)
    beats = {"PPG": ppg_beats(pulse, SAMPLING_HZ), "ECG": ecg_beats(clean, SAMPLING_HZ)}
    windows = _windows(pulse, heart)
    asked = [QualityConfig(gate=gate) for gate in ("all", "missing")]
    strict, lenient = (
        judge(windows, windows, BOTH, starts=STARTS, beats=beats, config=config) for config in asked
    )
    assert strict.reason[0] == "flat PPG"
    assert lenient.reason.tolist() == ["", "", "", "missing", "", ""]
    assert lenient.broken["flat PPG"][0]
    for name, verdict in strict.broken.items():
        np.testing.assert_array_equal(lenient.broken[name], verdict)


def test_rules_name_their_figure_their_limit_and_their_column():
    asked = {rule.name: rule for rule in rules(BOTH, {"PPG": 0.45}, QualityConfig())}
    assert next(iter(asked)) == "missing"
    assert list(asked)[-1] == "rates disagree"
    assert asked["aperiodic PPG"].limit == 0.45
    assert asked["aperiodic ECG"].limit == 0.35
    assert asked["aperiodic PPG"].breaks == "below"
    assert asked["few beats ECG"].column == "broken_few_beats_ECG"
    assert asked["flat PPG"].broken(np.array([0.1, 0.3, np.nan])).tolist() == [False, True, False]
    assert [rule.name for rule in rules(_spec(ACC_X="acc"))] == ["missing"]


def test_a_window_of_20_s_whose_rate_changes_is_looked_at_in_two_parts():
    times_s = np.concatenate((np.arange(0.5, 10, 1.0), np.arange(10.3, 20, 0.6)))
    twice = np.concatenate((times_s, 20 + times_s))
    pulse = ppg(twice, 40.0, dicrotic=0.0)
    spec = SignalSpec(channels=BOTH.channels[:1], sampling_hz=SAMPLING_HZ, n_samples=2500)
    windows = pulse.reshape(2, 1, 2500)
    beats = {"PPG": np.round(twice * SAMPLING_HZ).astype(int)}
    verdicts = judge(windows, windows, spec, starts=np.array([0, 2500]), beats=beats)
    # By one rate for all 20 s, half of the power would lie near it.
    assert (verdicts.values["PPG_concentration"] > 0.9).all()


def test_a_record_of_many_windows_is_measured_in_blocks_to_the_same_figures(
    monkeypatch, pulse_and_heart
):
    whole = _judge(*pulse_and_heart)
    monkeypatch.setattr(quality, "BLOCK", 4)
    in_blocks = _judge(*pulse_and_heart)
    assert in_blocks.reason.tolist() == whole.reason.tolist()
    for name, values in whole.values.items():
        np.testing.assert_allclose(in_blocks.values[name], values, rtol=1e-6)


def test_rates_are_compared_between_the_first_ppg_and_the_first_ecg(pulse_and_heart):
    pulse, heart = pulse_and_heart
    spec = _spec(PPG="ppg", FAST="ppg", ECG="ecg")
    windows = _windows(pulse, ppg(beat_times_s(120, 60.0), 60.0), heart)
    found = [ppg_beats(windows[:, channel].ravel(), SAMPLING_HZ) for channel in (0, 1)]
    beats = {"PPG": found[0], "FAST": found[1], "ECG": ecg_beats(heart, SAMPLING_HZ)}
    verdicts = judge(windows, windows, spec, starts=STARTS, beats=beats)
    assert (verdicts.values["rate_difference_bpm"] < 2.0).all()
    assert not verdicts.broken["rates disagree"].any()


def test_a_window_that_lacks_samples_changes_no_figure_of_the_others(pulse_and_heart):
    pulse, heart = (1e-6 * x for x in pulse_and_heart)  # in volts
    windows = _windows(pulse, heart)
    beats = {"PPG": ppg_beats(pulse, SAMPLING_HZ), "ECG": ecg_beats(heart, SAMPLING_HZ)}
    whole = judge(windows, windows, BOTH, starts=STARTS, beats=beats)
    lacking = windows.copy()
    lacking[2, :, [5, 6, 7]] = np.array([[np.nan], [np.inf], [-np.inf]])
    for filtered, unfiltered in ((lacking, windows), (windows, lacking)):
        verdicts = judge(filtered, unfiltered, BOTH, starts=STARTS, beats=beats)
        assert verdicts.reason.tolist() == ["", "", "missing", "", "", ""]
        for name, values in whole.values.items():
            assert np.isnan(verdicts.values[name][2])
            others = np.delete(verdicts.values[name], 2)
            np.testing.assert_allclose(others, np.delete(values, 2), rtol=1e-6)


def test_a_figure_on_its_limit_breaks_no_rule():
    few = {rule.name: rule for rule in rules(BOTH)}["few beats PPG"]
    assert few.broken(np.array([2.0, 3.0, np.nan])).tolist() == [True, False, False]
    assert Rule("tall", "height", 5.0).broken(np.array([5.0, 5.1])).tolist() == [False, True]
    assert Rule("tall", "height").broken(np.array([0.0, 0.1])).tolist() == [False, True]


@pytest.mark.parametrize("name", ["max_flat", "max_clipped", "min_quality", "max_bad_channels"])
def test_a_part_of_a_window_lies_between_none_and_all_of_it(name):
    assert [getattr(QualityConfig.parse({name: each}), name) for each in (0, 1)] == [0, 1]
    for outside in (-0.01, 1.01):
        with pytest.raises(ConfigError, match=name):
            QualityConfig.parse({name: outside})


def test_fewer_than_no_beats_and_no_difference_at_all_are_refused():
    assert QualityConfig(min_cycles=0, max_rate_difference_bpm=0.5).min_cycles == 0
    for wrong in ({"min_cycles": -1}, {"max_rate_difference_bpm": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            QualityConfig.parse(wrong)
