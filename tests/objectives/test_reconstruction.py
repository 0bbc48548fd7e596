"""Reconstruction asks for the window back, judges it in float32, and can be learned."""

import pytest
import torch

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.ppg_autoencoder import PpgAutoencoderConfig
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.augment import AugmentConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.reconstruction import (
    CROPS,
    WHOLE,
    Reconstruction,
    ReconstructionConfig,
    crop,
)
from biosig_cli.signal.spec import Channel, SignalSpec

SPEC = SignalSpec(channels=(Channel(name="PPG", kind="ppg"),), sampling_hz=125, n_samples=1250)
STILL = AugmentConfig(shift_p=0, scale_p=0, wander_p=0, noise_p=0)


def make_batch(n_windows: int = 8, n_samples: int = 1250) -> Batch:
    """Pulse waves of two harmonics, each window at its own rate."""
    generator = torch.Generator().manual_seed(0)
    rate_hz = 0.8 + torch.rand(n_windows, 1, 1, generator=generator)
    beat = 2 * torch.pi * rate_hz * torch.arange(n_samples) / 125
    signal = torch.sin(beat) + 0.5 * torch.sin(2 * beat + 1)
    rows = torch.arange(n_windows)
    return Batch(signal / signal.std(-1, keepdim=True), rows, window_keys(42, 0, rows))


def make(width: int = 8, **settings: object) -> tuple[Pretraining, Reconstruction]:
    torch.manual_seed(0)
    encoder = PpgAutoencoderConfig(width=width, hidden=64).build(SPEC)
    given = {"augment": STILL, "crop_samples": None} | settings
    objective = ReconstructionConfig(**given).build(encoder)  # type: ignore[arg-type]
    return Pretraining(encoder, {"reconstruction": objective}), objective


def test_total_is_the_weighted_sum_of_its_parts() -> None:
    pretraining, _ = make(mse_weight=0.5, ssim_weight=0.3, fft_weight=0.2)
    losses = pretraining(make_batch())
    parts = losses.parts
    expected = 0.5 * parts["mse"] + 0.3 * (1 - parts["ssim"]) + 0.2 * parts["fft"]
    torch.testing.assert_close(losses.total, expected)
    assert set(parts) == {"mse", "ssim", "fft"}


def test_weights_that_do_not_sum_to_one_are_refused_naming_the_sum() -> None:
    with pytest.raises(ConfigError, match=r"must sum to 1, they sum to 1\.1"):
        ReconstructionConfig.parse({"mse_weight": 0.6})


def test_a_perfect_answer_costs_nothing() -> None:
    _, objective = make()
    target = make_batch().signal[:, 0]
    losses = objective.eval()._judge(target, target)
    assert losses.total.item() == pytest.approx(0.0, abs=1e-5)
    assert losses.parts["r"].item() == pytest.approx(1.0, abs=1e-5)


def test_the_first_answer_is_zero_and_costs_about_one() -> None:
    parts = make()[0].eval()(make_batch()).parts
    assert parts["mse"] == parts["zero"]
    assert parts["mse"].item() == pytest.approx(1.0, abs=0.01)
    assert parts["fft"].item() == pytest.approx(1.0, abs=0.1)
    assert parts["r"] == 0


def test_slow_waves_of_the_same_size_are_judged_in_eval_mode() -> None:
    parts = make()[0].eval()(make_batch()).parts
    assert set(parts) == {"mse", "ssim", "fft", "r", "zero", "low_pass"}
    # 40 numbers for 10 s: the mean, and 19 waves up to 1.9 Hz, where the first harmonics are.
    assert 0 < parts["low_pass"] < parts["zero"]


def test_crops_are_stretches_of_their_windows() -> None:
    places = torch.arange(100.0).expand(500, 2, -1)
    found = crop(places, window_keys(0, 0, torch.arange(500)), 90)
    starts = found[:, 0, 0]
    assert torch.equal(found, starts[:, None, None] + torch.arange(90.0).expand(500, 2, -1))
    # Ends included: the last start is 10.
    assert set(starts.long().tolist()) == set(range(11))


def test_training_takes_crops_until_the_stage_of_whole_windows() -> None:
    pretraining, objective = make(crop_samples=250, crops_per_window=3)
    lengths: list[tuple[int, ...]] = []
    pretraining.encoder.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape))
    batch = make_batch(4)
    objective.enter(CROPS)
    pretraining(batch)
    objective.enter(WHOLE)
    pretraining(batch)
    objective.enter(CROPS)
    pretraining.eval()(batch)
    assert lengths == [(12, 1, 250), (4, 1, 1250), (4, 1, 1250)]


def test_windows_no_longer_than_a_crop_are_taken_whole() -> None:
    pretraining, objective = make(crop_samples=1250)
    objective.enter(CROPS)
    assert torch.equal(pretraining(make_batch()).total, make()[0](make_batch()).total)


def test_a_loss_depends_on_the_windows_and_not_on_their_batch() -> None:
    pretraining, objective = make(crop_samples=625, augment=AugmentConfig())
    torch.nn.init.normal_(objective.decoder.last.weight, std=0.1)
    batch = make_batch(8)
    whole = pretraining(batch)
    halves = [
        pretraining(Batch(batch.signal[part], batch.window[part], batch.key[part]))
        for part in (slice(0, 4), slice(4, 8))
    ]
    mean = sum(half.total for half in halves) / 2
    torch.testing.assert_close(whole.total, mean, atol=1e-5, rtol=1e-5)


def test_windows_are_changed_in_train_mode_only() -> None:
    pretraining, _ = make(augment=AugmentConfig())
    still, _ = make()
    batch = make_batch()
    assert not torch.equal(pretraining(batch).total, still(batch).total)
    assert torch.equal(pretraining.eval()(batch).total, still.eval()(batch).total)


def test_stages_are_crops_and_then_whole_windows() -> None:
    config = ReconstructionConfig(whole_epochs=5, whole_lr=0.5)
    crops, whole = config.stages(50, lr=1e-3)
    assert (crops.name, crops.epochs, crops.lr) == (CROPS, 45, 1e-3)
    assert (whole.name, whole.epochs, whole.lr) == (WHOLE, 5, 5e-4)
    assert [stage.epochs for stage in config.stages(3, 1e-3)] == [3]
    assert [stage.name for stage in ReconstructionConfig(crop_samples=None).stages(9, 1)] == [WHOLE]
    assert [stage.name for stage in ReconstructionConfig(whole_epochs=0).stages(9, 1)] == [CROPS]


def test_a_denoised_target_is_what_is_drawn() -> None:
    pretraining, _ = make(target="denoised")
    batch = make_batch()
    asked = Batch(batch.signal, batch.window, batch.key, target=3 * batch.signal)
    parts = pretraining.eval()(asked).parts
    torch.testing.assert_close(parts["zero"], 9 * batch.signal.square().mean())


def test_a_missing_denoised_target_is_an_error_that_says_how_to_get_one() -> None:
    with pytest.raises(DataError, match="not in the store") as caught:
        make(target="denoised")[0](make_batch())
    assert "--denoise" in caught.value.hint


def test_an_encoder_that_keeps_everything_is_refused() -> None:
    encoder = TtmConfig(width=64, n_layers=1).build(SPEC)
    with pytest.raises(ConfigError, match="TtmEncoder keeps more than there is"):
        ReconstructionConfig().build(encoder)


def test_a_band_without_a_wave_in_a_crop_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"0\.4 s have no wave"):
        make(crop_samples=50, band_hz=(0.5, 2.0))


def test_losses_are_computed_in_float32_under_autocast() -> None:
    pretraining, objective = make()
    torch.nn.init.normal_(objective.decoder.last.weight, std=0.1)
    batch = make_batch()
    seen: list[torch.dtype] = []
    objective.decoder.register_forward_hook(lambda *passed: seen.append(passed[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        losses: Losses = pretraining(batch)
    assert seen == [torch.bfloat16]
    assert losses.total.dtype == torch.float32
    # bfloat16 has three digits: so has the answer, but not the sums over it.
    assert losses.total.item() == pytest.approx(pretraining(batch).total.item(), rel=0.02)


def test_one_batch_is_overfitted() -> None:
    pretraining, _ = make(width=16)
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=4e-3)
    batch = make_batch()
    for _ in range(80):
        optimizer.zero_grad()
        pretraining(batch).total.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.parameters(), 1.0)
        optimizer.step()
    parts = pretraining.eval()(batch).parts
    assert parts["mse"] < 0.05 * parts["zero"]
    assert parts["r"] > 0.97
    assert parts["mse"] < parts["low_pass"]
