"""The autoencoder keeps 2,344 numbers of ten minutes in their order, and draws any length again."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal as filters

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.models.costs import cost_table
from biosig_cli.models.heads import pool
from biosig_cli.models.ppg_autoencoder import (
    AutoencoderDecoder,
    PpgAutoencoder,
    PpgAutoencoderConfig,
    interleave,
)
from biosig_cli.signal.spec import Channel, SignalSpec

PPG, ECG = Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg")


def make(
    n_samples: int = 1250, channels: tuple[Channel, ...] = (PPG,), **settings: int
) -> tuple[PpgAutoencoder, AutoencoderDecoder]:
    torch.manual_seed(0)
    spec = SignalSpec(channels=channels, sampling_hz=125, n_samples=n_samples)
    encoder = PpgAutoencoderConfig(**settings).build(spec)  # type: ignore[arg-type]
    return encoder, AutoencoderDecoder(encoder.widths)


def make_small(**settings: int) -> tuple[PpgAutoencoder, AutoencoderDecoder]:
    """An autoencoder whose answer is not zero at the start."""
    encoder, decoder = make(width=8, hidden=16, **settings)
    torch.nn.init.normal_(decoder.last.weight, std=0.1)
    return encoder, decoder


@pytest.mark.parametrize(
    ("n_samples", "n_positions"), [(1250, 40), (75_000, 2344), (7501, 235), (33, 2), (32, 1)]
)
def test_the_answer_is_as_long_as_the_window(n_samples: int, n_positions: int) -> None:
    encoder, decoder = make(n_samples, width=8, hidden=16)
    with torch.no_grad():
        encoding = encoder(torch.randn(2, 1, n_samples))
        assert decoder(encoding.tokens, n_samples).shape == (2, 1, n_samples)
    assert encoder.n_positions == n_positions
    assert encoding.tokens.shape == (2, 1, n_positions, 128)
    assert encoding.patches.shape == (2, 1, n_positions, 32)


def test_ten_minutes_become_2344_numbers_and_one_vector() -> None:
    encoder, _ = make(75_000)
    windows = torch.randn(1, 1, 75_000)
    with torch.no_grad():
        latent = encoder.compress(windows)
        tokens = encoder(windows).tokens
        assert torch.equal(encoder.expand(latent), tokens)
        assert encoder.embed(windows).shape == (1, 512)
    assert latent.shape == (1, 1, 2344, 1)
    assert latent.numel() == encoder.latent_size(75_000) == 2344
    # What the heads make of tokens begins with the embedding.
    torch.testing.assert_close(pool(tokens)[:, :512], encoder.embed(windows))


def test_it_has_about_2_8_million_parameters() -> None:
    rows = cost_table(*make(75_000), 75_000)
    assert rows[-1].n_parameters == pytest.approx(2.8e6, rel=0.1)
    assert rows[-1].n_parameters == sum(row.n_parameters for row in rows[:-1])


def test_costs_are_those_of_a_hand_calculation() -> None:
    rows = {row.name: row for row in cost_table(*make(75_000), 75_000)}
    # 32 features of 7 weights at each of 37,504 places; then 256 x 256 x 3 at 4,688.
    assert rows["encoder.first"].mflops == pytest.approx(2 * 32 * 7 * 37_504 / 1e6)
    assert rows["encoder.down.3.conv1"].mflops == pytest.approx(2 * 256 * 256 * 3 * 4688 / 1e6)
    assert rows["decoder.last"].mflops == pytest.approx(2 * 32 * 8 * 37_504 / 1e6)
    assert rows["encoder.widen.2"].shape == (512, 2344)
    assert rows["all"].mflops == pytest.approx(sum(row.mflops for row in rows.values()) / 2)


def test_channels_are_treated_alike_and_apart() -> None:
    encoder, decoder = make_small(n_samples=1250)
    first, second = torch.randn(2, 3, 1, 1250)
    with torch.no_grad():
        both = encoder(torch.cat([first, second], dim=1)).tokens
        torch.testing.assert_close(both[:, :1], encoder(first).tokens, atol=1e-5, rtol=0)
        torch.testing.assert_close(both[:, 1:], encoder(second).tokens, atol=1e-5, rtol=0)
        drawn = decoder(both, 1250)
        torch.testing.assert_close(drawn[:, 1:], decoder(both[:, 1:], 1250), atol=1e-5, rtol=0)


def test_a_window_alone_is_answered_as_in_a_batch() -> None:
    encoder, decoder = (module.train() for module in make_small())
    windows = torch.randn(8, 1, 1250)
    with torch.no_grad():
        together = decoder(encoder(windows).tokens, 1250)
        alone = decoder(encoder(windows[3:4]).tokens, 1250)
    torch.testing.assert_close(together[3:4], alone, atol=1e-5, rtol=0)


def test_accumulated_gradients_are_those_of_the_big_batch() -> None:
    encoder, decoder = make_small()
    windows = torch.randn(8, 1, 1250)
    parameters = [*encoder.parameters(), *decoder.parameters()]

    def gradients(batches: list[torch.Tensor]) -> list[torch.Tensor]:
        for parameter in parameters:
            parameter.grad = None
        for batch in batches:
            answer = decoder(encoder(batch).tokens, 1250)
            ((answer - batch).square().mean() * len(batch) / 8).backward()
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    whole, summed = gradients([windows]), gradients(list(windows.split(2)))
    assert len(whole) == len(parameters)
    for first, second in zip(whole, summed, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-3)


def test_the_interior_of_an_answer_does_not_repeat() -> None:
    encoder, decoder = make_small()
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(1, 1, 1250, generator=generator).cumsum(-1)
    with torch.no_grad():
        drawn = decoder(encoder(wave / wave.std()).tokens, 1250)[0, 0, 250:1000]
    # A decoder that starts from one vector repeats itself every 16 or 32 samples, to rounding.
    for lag in (1, 2, 4, 8, 16, 32, 64):
        assert (drawn[lag:] - drawn[:-lag]).std() > 0.1 * drawn.std(), lag


def test_what_is_far_away_in_time_has_no_say_in_the_latent_but_through_the_norms() -> None:
    encoder, _ = make_small(n_samples=75_000)
    for module in encoder.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda features: features  # type: ignore[method-assign]
    first = torch.randn(1, 1, 75_000)
    second = first.clone()
    second[..., 37_500:] = torch.randn(37_500)
    with torch.no_grad():
        differs = (encoder.compress(first) != encoder.compress(second))[0, 0, :, 0]
    # The change begins at position 1171; four positions of context, and three of the blocks.
    assert not differs[: 1171 - 8].any()
    assert differs[1171 + 8 :].all()


def test_interleaving_is_a_transposed_convolution_whose_kernel_is_its_stride() -> None:
    torch.manual_seed(0)
    transposed = torch.nn.ConvTranspose1d(6, 4, 2, stride=2, bias=False)
    features = torch.randn(3, 6, 10)
    # Its weight is (in, out, place in the stride).
    weight = transposed.weight.permute(2, 1, 0).reshape(8, 6, 1)
    found = interleave(torch.nn.functional.conv1d(features, weight))
    torch.testing.assert_close(found, transposed(features), atol=1e-6, rtol=0)


def test_hiding_patches_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't hide patches"):
        make_small()[0](torch.randn(1, 1, 1250), torch.zeros(1, 1, 40, dtype=torch.bool))


def test_windows_shorter_than_a_position_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes 32 samples or more, the windows have 31"):
        make(31)
    with pytest.raises(DataError, match="windows of 31 samples are too short"):
        make()[0](torch.randn(1, 1, 31))


def test_one_batch_of_real_windows_is_overfitted(real_data: Path) -> None:
    paths = sorted((real_data / "ppg_long").glob("*rest*.tsv.gz"))[:8]
    if len(paths) < 8:
        pytest.skip("there is no ppg_long in the folder of real recordings")
    windows = torch.from_numpy(np.stack([read_window(path) for path in paths]))[:, None]
    encoder, decoder = make()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    for step in range(80):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 10, (80 - step) / 40)
        optimizer.zero_grad()
        error = (decoder(encoder(windows).tokens, 1250) - windows).square().mean()
        error.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    with torch.no_grad():
        error = (decoder(encoder(windows).tokens, 1250) - windows).square().mean()
    assert error < 0.05 * windows.var()


def read_window(path: Path) -> np.ndarray:
    """Return ten seconds of a pulse at 50 Hz as 1,250 normalized samples at 125 Hz."""
    with gzip.open(path) as file:
        pulse = np.loadtxt(file, usecols=0)[3000:6000]
    fast = filters.resample_poly(pulse - pulse.mean(), 5, 2)
    band = filters.butter(2, (0.5, 10.0), "bandpass", output="sos", fs=125)
    clean = filters.sosfiltfilt(band, fast)[3000:4250]
    return ((clean - clean.mean()) / clean.std()).astype(np.float32)
