"""Masked modelling asks for hidden patches, counts nothing else, and can be learned."""

import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.base import Encoding
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.masked import Masked, MaskedConfig
from biosig_cli.signal.spec import Channel, SignalSpec

CHANNELS = (Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg"))
SPEC = SignalSpec(channels=CHANNELS, sampling_hz=125, n_samples=1250)


def make_batch(n_windows: int = 8) -> Batch:
    """Beats of many rates: a slow wave for the PPG, spikes for the ECG."""
    generator = torch.Generator().manual_seed(0)
    rate_hz = 0.8 + 1.2 * torch.rand(n_windows, 1, generator=generator)
    phase = torch.rand(n_windows, 1, generator=generator)
    beat = rate_hz * torch.arange(1250) / 125 + phase
    ppg = torch.sin(2 * torch.pi * beat)
    ecg = torch.exp(-0.5 * ((beat.frac() - 0.5) / 0.03) ** 2)
    rows = torch.arange(n_windows)
    return Batch(torch.stack([ppg, ecg], dim=1), rows, window_keys(42, 0, rows))


def make(**settings: object) -> tuple[Pretraining, Masked]:
    torch.manual_seed(0)
    encoder = TtmConfig(width=64, n_layers=1).build(SPEC)
    objective = MaskedConfig(**settings).build(encoder)  # type: ignore[arg-type]
    return Pretraining(encoder, {"masked": objective}), objective


def test_total_is_msm_plus_weighted_stft() -> None:
    pretraining, _ = make(stft_weight=0.3)
    losses = pretraining(make_batch())
    expected = losses.parts["msm"] + 0.3 * losses.parts["stft"]
    torch.testing.assert_close(losses.total, expected)


def test_only_hidden_patches_count() -> None:
    pretraining, objective = make()
    batch = make_batch()
    hidden = objective.draw(batch.key, 2, 10)

    class Oracle(torch.nn.Module):
        """Knows the hidden patches, and says nonsense of the visible ones."""

        spec, n_positions = SPEC, 10

        def forward(self, signal: torch.Tensor, hidden: torch.Tensor) -> Encoding:
            patches = pretraining.encoder(signal, hidden).patches
            return Encoding(torch.where(hidden[..., None], patches, 99.0), patches)

    objective.decoder = torch.nn.Identity()
    losses = objective(Oracle(), batch)
    assert losses.parts["msm"] == 0
    assert losses.parts["stft"] == 0
    assert hidden.sum() == 8 * 2 * 4


def test_trivial_answers_are_scored_in_eval_mode_only() -> None:
    pretraining, _ = make()
    assert set(pretraining(make_batch()).parts) == {"msm", "stft"}
    parts = pretraining.eval()(make_batch()).parts
    assert set(parts) == {"msm", "stft", "zero", "interpolation"}


def test_zero_scores_the_mean_square_of_hidden_patches() -> None:
    pretraining, objective = make()
    batch = make_batch()
    hidden = objective.draw(batch.key, 2, 10)
    patches = pretraining.encoder(batch.signal, hidden).patches
    expected = patches[hidden].square().mean()
    torch.testing.assert_close(pretraining.eval()(batch).parts["zero"], expected)


def test_first_answer_is_zero() -> None:
    parts = make()[0].eval()(make_batch()).parts
    assert parts["msm"] == parts["zero"]


def test_masks_are_shared_over_channels_unless_asked_otherwise() -> None:
    keys = make_batch(64).key
    shared = make()[1].draw(keys, 2, 10)
    assert torch.equal(shared[:, 0], shared[:, 1])
    own = make(share_channels=False)[1].draw(keys, 2, 10)
    assert not torch.equal(own[:, 0], own[:, 1])
    assert (own.sum(-1) == 4).all()


def test_stft_windows_default_to_those_shorter_than_the_signal() -> None:
    assert make()[1].stft.n_ffts == (256, 512, 1024)
    spec = SPEC.model_copy(update={"n_samples": 1024})
    encoder = TtmConfig(context_length=1024, patch_size=64, width=64, n_layers=1).build(spec)
    assert MaskedConfig().build(encoder).stft.n_ffts == (256, 512)


def test_no_spectral_loss_where_its_weight_is_zero() -> None:
    losses = make(stft_weight=0.0)[0](make_batch())
    assert set(losses.parts) == {"msm"}
    torch.testing.assert_close(losses.total, losses.parts["msm"])


def test_ratio_that_hides_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="hides 10 of 10"):
        make(mask_ratio=0.99)


def test_one_batch_is_overfitted() -> None:
    pretraining, _ = make()
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=3e-3)
    batch = make_batch()
    for _ in range(150):
        optimizer.zero_grad()
        pretraining(batch).total.backward()
        optimizer.step()
    parts = pretraining.eval()(batch).parts
    assert parts["msm"] < 0.05 * parts["zero"]
