"""Augmented windows are those that were meant, whatever batch they are in; the heart rate stays."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal as filters

from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.draws import window_keys
from biosig_cli.objectives.augment import AugmentConfig, augment, gaussian, roll, snr_db
from biosig_cli.signal.beats import ppg_beats

SAMPLING_HZ = 125.0
OFF = {"shift_p": 0.0, "scale_p": 0.0, "wander_p": 0.0, "noise_p": 0.0}
KEYS = window_keys(42, 3, torch.arange(64))


def make_windows(n_windows: int = 64, n_samples: int = 1250) -> torch.Tensor:
    """Pulse waves of two harmonics, each window at its own rate, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    rate_hz = 0.8 + torch.rand(n_windows, 1, 1, generator=generator)
    beat = 2 * math.pi * rate_hz * torch.arange(n_samples) / SAMPLING_HZ
    noise = 0.1 * torch.randn(n_windows, 1, n_samples, generator=generator)
    return torch.sin(beat) + 0.5 * torch.sin(2 * beat + 1) + noise


def change(windows: torch.Tensor, **settings: object) -> tuple[torch.Tensor, torch.Tensor]:
    config = AugmentConfig.parse(OFF | settings)
    return augment(windows, windows.clone(), KEYS[: len(windows)], config, SAMPLING_HZ)


def test_with_everything_off_nothing_changes() -> None:
    windows = make_windows()
    changed, target = change(windows)
    assert torch.equal(changed, windows)
    assert torch.equal(target, windows)
    assert not AugmentConfig.parse(OFF).changes_anything
    assert AugmentConfig().changes_anything


def test_a_shift_moves_window_and_target_together_by_up_to_a_tenth() -> None:
    places = torch.arange(1250.0).expand(64, 1, -1)
    changed, target = change(places, shift_p=1.0)
    assert torch.equal(changed, target)
    moved = -changed[:, 0, 0]
    moved = torch.where(moved < -625, moved + 1250, moved)
    assert moved.abs().max() <= 125
    assert moved.min() < -60
    assert moved.max() > 60
    assert torch.equal(changed.sort().values, places)


def test_roll_turns_each_window_by_its_own_number() -> None:
    windows = torch.arange(10.0).view(2, 1, 5)
    expected = [[[4.0, 0.0, 1.0, 2.0, 3.0]], [[7.0, 8.0, 9.0, 5.0, 6.0]]]
    assert roll(windows, torch.tensor([1, -2])).tolist() == expected


def test_a_scale_is_that_of_window_and_target_and_in_its_range() -> None:
    windows = make_windows()
    changed, target = change(windows, scale_p=1.0)
    scale = (changed / windows).mean(-1)
    torch.testing.assert_close(changed, scale[..., None] * windows)
    assert torch.equal(changed, target)
    assert scale.min() >= 0.85
    assert scale.max() <= 1.15
    assert scale.std() > 0.05


def test_wander_is_added_to_the_window_alone_at_its_frequency_and_size() -> None:
    windows = make_windows()
    changed, target = change(windows, wander_p=1.0)
    assert torch.equal(target, windows)
    added = changed - windows
    # 0.2 Hz is the second wave of 10 s.
    assert (torch.fft.rfft(added).abs().argmax(-1) == 2).all()
    height = added.std(-1) * 2**0.5 / windows.std(-1)
    assert height.min() >= 0.05 - 0.01
    assert height.max() <= 0.25 + 0.01


def test_noise_brings_a_window_to_four_fifths_of_its_own_ratio_in_db() -> None:
    windows = make_windows(n_samples=7500)
    changed, target = change(windows, noise_p=1.0)
    assert torch.equal(target, windows)
    before, after = snr_db(windows, SAMPLING_HZ), snr_db(changed, SAMPLING_HZ)
    assert before.min() > 10
    # Each window's noise is one draw of 6,000 numbers or more: its power is known to 2 %.
    torch.testing.assert_close(after, 0.8 * before, atol=0.3, rtol=0)


def test_a_window_of_noise_gets_no_more_of_it() -> None:
    windows = torch.randn(4, 1, 1250, generator=torch.Generator().manual_seed(0))
    assert torch.equal(change(windows, noise_p=1.0)[0], windows)


def test_ratio_of_a_pulse_and_a_fast_wave_is_that_of_their_powers() -> None:
    time_s = torch.arange(1250) / SAMPLING_HZ
    pulse, fast = torch.sin(2 * math.pi * time_s), 0.1 * torch.sin(40 * math.pi * time_s)
    # Heights of 1 and 0.1, powers 100 to 1.
    assert snr_db((pulse + fast)[None, None], SAMPLING_HZ).item() == pytest.approx(20, abs=0.01)


def test_shares_of_windows_are_as_configured() -> None:
    windows = make_windows(1, 125).expand(2000, -1, -1)
    keys = window_keys(0, 0, torch.arange(2000))
    for name, p in (("shift_p", 0.5), ("wander_p", 0.6), ("noise_p", 0.4)):
        config = AugmentConfig.parse(OFF | {name: p})
        changed, _ = augment(windows, windows, keys, config, SAMPLING_HZ)
        share = (changed != windows).any(-1).float().mean().item()
        # Five standard deviations; one shift in 25 is by no sample at all.
        assert share == pytest.approx(p, abs=5 * (p * (1 - p) / 2000) ** 0.5 + 0.02), name


def test_a_window_is_changed_alike_in_any_batch_and_differently_in_every_epoch() -> None:
    windows, config = make_windows(), AugmentConfig()
    whole, _ = augment(windows, windows, KEYS, config, SAMPLING_HZ)
    rows = torch.tensor([40, 3, 17])
    some, _ = augment(windows[rows], windows[rows], KEYS[rows], config, SAMPLING_HZ)
    torch.testing.assert_close(some, whole[rows], atol=1e-6, rtol=0)
    again = window_keys(42, 4, torch.arange(64))
    other, _ = augment(windows, windows, again, config, SAMPLING_HZ)
    assert (other != whole).any(-1).all()


def test_gaussian_draws_are_standard_normal() -> None:
    draws = gaussian(window_keys(0, 0, torch.arange(100)), 1001)
    assert draws.shape == (100, 1001)
    # Five standard deviations of the moments of 100,100 draws.
    assert abs(draws.mean().item()) < 5 / 100_100**0.5
    assert abs(draws.var().item() - 1) < 5 * (2 / 100_100) ** 0.5
    assert abs(draws.pow(4).mean().item() - 3) < 5 * (96 / 100_100) ** 0.5


def test_heart_rate_of_real_ppg_is_preserved(real_data: Path) -> None:
    paths = sorted((real_data / "ppg_long").glob("*rest*.tsv.gz"))
    if not paths:
        pytest.skip("there is no ppg_long in the folder of real recordings")
    windows = torch.from_numpy(np.stack([read_minute(path) for path in paths]))[:, None]
    config = AugmentConfig(shift_p=1.0, wander_p=1.0, noise_p=1.0)
    keys = window_keys(0, 0, torch.arange(len(windows)))
    changed, _ = augment(windows, windows, keys, config, SAMPLING_HZ)
    for before, after in zip(windows[:, 0], changed[:, 0], strict=True):
        interval, other = (
            np.median(np.diff(ppg_beats(x.numpy(), SAMPLING_HZ))) for x in (before, after)
        )
        # A beat lasts a hundred samples or so; noise moves a peak by one or two.
        assert other == pytest.approx(interval, rel=0.02)


def read_minute(path: Path) -> np.ndarray:
    """Return the second minute of a pulse at 50 Hz as 7,500 normalized samples at 125 Hz."""
    with gzip.open(path) as file:
        pulse = np.loadtxt(file, usecols=0)[3000:6000]
    fast = filters.resample_poly(pulse - pulse.mean(), 5, 2)
    band = filters.butter(2, (0.5, 10.0), "bandpass", output="sos", fs=SAMPLING_HZ)
    clean = filters.sosfiltfilt(band, fast)
    return (clean / clean.std()).astype(np.float32)


def test_a_range_that_falls_is_refused() -> None:
    with pytest.raises(ConfigError, match="from a smaller to a larger number"):
        AugmentConfig.parse({"scale": [1.15, 0.85]})
