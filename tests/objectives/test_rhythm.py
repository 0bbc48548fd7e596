"""The rhythm objective: clean windows are damaged, and the rate of the heart is asked for."""

import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.rhythm import rates_hz
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives import artefacts
from biosig_cli.objectives.artefacts import Damaged, add_artefacts, change_speed, scaled
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.objectives.rhythm import RhythmConfig, pulse_spectrum
from biosig_cli.signal.spec import Channel, SignalSpec

CHANNELS = (Channel(name="ECG", kind="ecg"), Channel(name="PPG", kind="ppg"))
SPEC = SignalSpec(channels=CHANNELS, sampling_hz=125, n_samples=1250)


def waves(rate_hz: torch.Tensor) -> torch.Tensor:
    return torch.sin(2 * torch.pi * rate_hz[:, None] * torch.arange(1250) / 125)


def make_batch(n_windows: int = 8) -> Batch:
    """Beats of many rates: spikes for the ECG, a slow wave for the PPG."""
    rate_hz = torch.linspace(0.8, 2.0, n_windows)
    beat = rate_hz[:, None] * torch.arange(1250) / 125
    ecg = torch.exp(-0.5 * ((beat.frac() - 0.5) / 0.03) ** 2)
    rows = torch.arange(n_windows)
    return Batch(torch.stack([ecg, waves(rate_hz)], dim=1), rows, window_keys(42, 0, rows))


def make(**settings: object) -> Pretraining:
    torch.manual_seed(0)
    encoder = TtmConfig(width=64, n_layers=1).build(SPEC)
    objectives = {
        "masked": MaskedConfig().build(encoder),
        "rhythm": RhythmConfig.parse(settings).build(encoder),
    }
    return Pretraining(encoder, objectives, {"rhythm": 0.5})


def damage(
    signal: torch.Tensor,
    keys: torch.Tensor,
    snr_db: tuple[float, float] = (-15.0, 25.0),
    clean_share: float = 0.0,
) -> Damaged:
    highest_hz = torch.full((len(signal), 1), 8.0)
    return add_artefacts(
        signal,
        keys,
        sampling_hz=125,
        highest_hz=highest_hz,
        snr_db=snr_db,
        clean_share=clean_share,
    )


def test_the_spectrum_of_a_wave_is_highest_at_its_rate() -> None:
    rate_hz = torch.tensor([0.8, 1.5, 3.0])
    shares = pulse_spectrum(waves(rate_hz), 125, torch.ones(3))
    torch.testing.assert_close(rates_hz()[shares.argmax(dim=1)], rate_hz)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))


def test_played_faster_it_is_higher() -> None:
    shares = pulse_spectrum(waves(torch.full((2,), 1.0)), 125, torch.tensor([2.0, 0.6]))
    torch.testing.assert_close(rates_hz()[shares.argmax(dim=1)], torch.tensor([2.0, 0.6]))


def test_at_twice_the_speed_a_heart_beats_twice_as_fast() -> None:
    signal = waves(torch.full((16,), 1.0))[:, None]
    keys = window_keys(0, 0, torch.arange(16))
    fast, speed = change_speed(signal, keys, slowest=2.0, fastest=2.0)
    assert speed.tolist() == [2.0] * 16
    rises = ((fast[:, 0, 1:] > 0) & (fast[:, 0, :-1] <= 0)).sum(dim=1)
    assert (rises - 20).abs().max() <= 1


def test_channels_are_played_alike_and_stay_continuous() -> None:
    signal = waves(torch.linspace(0.8, 2, 8))[:, None].expand(-1, 2, -1)
    keys = window_keys(0, 0, torch.arange(8))
    played, _ = change_speed(signal, keys, slowest=0.6, fastest=2.0)
    assert torch.equal(played[:, 0], played[:, 1])
    assert played.diff(dim=-1).abs().max() < 2 * torch.pi * 4 / 125


def test_artefacts_are_as_strong_as_was_drawn() -> None:
    clean = waves(torch.full((64,), 1.2))
    keys = window_keys(0, 0, torch.arange(64))
    weak = damage(clean, keys, snr_db=(25.0, 25.0))
    strong = damage(clean, keys, snr_db=(-15.0, -15.0))
    alike = [(scaled(clean) * each.signal).mean(dim=1) for each in (weak, strong)]
    assert alike[0].median() > 0.95
    assert alike[1].abs().median() < 0.4
    assert weak.snr_db.unique().tolist() == [25.0]


def test_all_windows_may_be_left_clean() -> None:
    clean = waves(torch.full((64,), 1.2))
    left = damage(clean, window_keys(0, 0, torch.arange(64)), clean_share=1.0)
    same = (left.signal - scaled(clean)).abs().amax(dim=1) < 1e-5
    assert 32 < int(same.sum()) < 64  # a quarter has a step of its amplitude
    assert torch.equal(left.snr_db, torch.full((64,), 25.0))


def test_a_window_is_damaged_alike_in_any_batch() -> None:
    clean, keys = waves(torch.linspace(0.8, 2, 8)), window_keys(3, 1, torch.arange(8))
    whole, part = damage(clean, keys), damage(clean[5:], keys[5:])
    torch.testing.assert_close(whole.signal[5:], part.signal)
    other = damage(clean, window_keys(3, 2, torch.arange(8)))
    assert not torch.allclose(whole.signal, other.signal, atol=0.1)


@pytest.mark.parametrize("edge", [0.0, 1 - 2**-53])
def test_draws_at_their_edges_stay_finite(monkeypatch: pytest.MonkeyPatch, edge: float) -> None:
    def same(keys: torch.Tensor, n: int) -> torch.Tensor:
        return torch.full((len(keys), n), edge, dtype=torch.float64)

    monkeypatch.setattr(artefacts, "uniform", same)
    clean, keys = waves(torch.full((2,), 1.2)), torch.arange(2)
    assert damage(clean, keys).signal.isfinite().all()
    assert change_speed(clean[:, None], keys, slowest=0.6, fastest=2.0).signal.isfinite().all()


def test_objectives_add_up_by_their_weights() -> None:
    pretraining = make(snr_weight=2.0, denoise_weight=3.0)
    parts = (losses := pretraining(make_batch())).parts
    rhythm = parts["rhythm"] + 2 * parts["snr"] + 3 * parts["denoise"]
    masked = parts["msm"] + 0.3 * parts["stft"]
    torch.testing.assert_close(losses.total, masked + 0.5 * rhythm)


def test_every_parameter_gets_a_gradient() -> None:
    pretraining = make()
    pretraining(make_batch()).total.backward()
    assert [name for name, p in pretraining.named_parameters() if p.grad is None] == []


def test_one_batch_of_clean_windows_is_learned() -> None:
    pretraining = make(clean_share=0.999, slowest=1.0, fastest=1.0)
    batch = make_batch()
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        pretraining(batch).total.backward()
        optimizer.step()
    parts = pretraining.eval()(batch).parts
    assert parts["rhythm"] < parts["rhythm_floor"] + 0.3 < parts["rhythm_even"]
    assert parts["denoise"] < 0.3


def test_without_a_ppg_there_is_no_rhythm_to_ask_for() -> None:
    encoder = TtmConfig(width=64, n_layers=1).build(SPEC.select(["ECG"]))
    with pytest.raises(ConfigError, match="there is none: ECG"):
        RhythmConfig().build(encoder)
