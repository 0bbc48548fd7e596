"""The TTM encoder is granite-tsfm's own at the start, and never looks where it may not."""

import logging
import os
from pathlib import Path

import pytest
import torch

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.models.pretrained import find_weights
from biosig_cli.models.ttm import TtmConfig, TtmEncoder
from biosig_cli.signal.spec import Channel, SignalSpec

DATA = Path(os.environ.get("BIOSIG_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
R1 = DATA / "ttm/r1_1024_96"
needs_r1 = pytest.mark.skipif(not R1.is_dir(), reason="TTM r1 weights are not in BIOSIG_TEST_DATA")

PPG, ECG = Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg")


def make_spec(n_samples: int = 1250) -> SignalSpec:
    return SignalSpec(channels=(PPG, ECG), sampling_hz=125, n_samples=n_samples)


@pytest.fixture(scope="module")
def encoder() -> TtmEncoder:
    torch.manual_seed(0)
    return TtmConfig().build(make_spec()).eval()


@pytest.fixture
def signal() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 2, 1250) * 5 + 60


def hide(*positions: int) -> torch.Tensor:
    hidden = torch.zeros(3, 2, 10, dtype=torch.bool)
    hidden[..., list(positions)] = True
    return hidden


def test_windows_become_tokens_per_channel_and_position(
    encoder: TtmEncoder, signal: torch.Tensor
) -> None:
    encoding = encoder(signal)
    assert encoding.tokens.shape == (3, 2, 10, 192)
    assert encoding.patches.shape == (3, 2, 10, 125)


def test_at_the_start_it_equals_the_channel_independent_ttm(
    encoder: TtmEncoder, signal: torch.Tensor
) -> None:
    reference = encoder.backbone(signal.transpose(1, 2))
    encoding = encoder(signal)
    torch.testing.assert_close(encoding.tokens, reference.last_hidden_state, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoding.patches, reference.patch_input, atol=0, rtol=0)


def test_hidden_samples_have_no_influence(encoder: TtmEncoder, signal: torch.Tensor) -> None:
    hidden = hide(2, 7)
    changed = signal.clone()
    changed[..., 250:375] = 1e4
    changed[..., 875:1000] = -3.0
    torch.testing.assert_close(
        encoder(signal, hidden).tokens, encoder(changed, hidden).tokens, atol=0, rtol=0
    )
    assert not torch.equal(encoder(signal).tokens, encoder(changed).tokens)


def test_patches_are_in_units_of_the_visible_deviation(
    encoder: TtmEncoder, signal: torch.Tensor
) -> None:
    hidden = hide(0, 1, 2, 3)
    visible = encoder(signal, hidden).patches[:, :, 4:].flatten(2)
    assert visible.mean(-1).abs().max() < 1e-4
    assert (visible.std(-1, correction=0) - 1).abs().max() < 1e-3


def test_channels_are_told_apart_once_their_embeddings_differ(signal: torch.Tensor) -> None:
    encoder = TtmConfig().build(make_spec()).eval()
    same = signal[:, :1].expand(-1, 2, -1)
    tokens = encoder(same).tokens
    torch.testing.assert_close(tokens[:, 0], tokens[:, 1], atol=1e-5, rtol=0)
    with torch.no_grad():
        encoder.channel_embedding[1] += 0.1
    tokens = encoder(same).tokens
    assert (tokens[:, 0] - tokens[:, 1]).abs().max() > 1e-3


def test_mixer_lets_one_channel_inform_the_other(signal: torch.Tensor) -> None:
    encoder = TtmConfig().build(make_spec()).eval()
    changed = signal.clone()
    changed[:, 1] = torch.randn(3, 1250)
    torch.testing.assert_close(
        encoder(signal).tokens[:, 0], encoder(changed).tokens[:, 0], atol=1e-6, rtol=0
    )
    with torch.no_grad():
        encoder.mixer.weight[0, 1] = 0.5
    difference = encoder(signal).tokens[:, 0] - encoder(changed).tokens[:, 0]
    assert difference.abs().max() > 1e-3


def test_building_leaves_the_programs_logging_alone() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    TtmConfig().build(make_spec())
    assert (root.level, list(root.handlers)) == before


def test_patch_size_that_does_not_divide_names_some_that_do() -> None:
    with pytest.raises(ConfigError, match=r"patches of 64 do not divide.*50, 125"):
        TtmConfig.parse({"context_length": 1250, "patch_size": 64})


def test_windows_of_another_length_are_refused_naming_what_fits() -> None:
    with pytest.raises(ConfigError, match="takes 1250 samples, the windows have 1024") as caught:
        TtmConfig().build(make_spec(1024))
    assert "--context-length 1024" in caught.value.hint


@needs_r1
def test_released_weights_match_whole_and_give_the_released_model() -> None:
    from safetensors.torch import load_file
    from tsfm_public import TinyTimeMixerForPrediction

    released = find_weights(str(R1))
    encoder = released.config.build(make_spec(1024)).eval()
    report = released.load_into(encoder)
    n_released = sum(name.startswith("backbone.") for name in load_file(R1 / "model.safetensors"))
    assert len(report.matched) == n_released == 98
    assert report.missing == report.unexpected == report.mismatched == ()

    signal = torch.randn(2, 2, 1024)
    reference = TinyTimeMixerForPrediction.from_pretrained(str(R1)).backbone.eval()
    expected = reference(signal.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(encoder(signal).tokens, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.mask_token, reference.encoder.patcher.bias)


@needs_r1
def test_released_architecture_comes_from_its_own_file() -> None:
    config = find_weights(str(R1)).config
    assert (config.context_length, config.patch_size, config.n_positions) == (1024, 64, 16)


@pytest.mark.parametrize(
    "change", [{"mode": "mix_channel"}, {"model_type": "bert"}, {"patch_stride": 32}]
)
def test_another_architecture_is_refused(change: dict[str, object]) -> None:
    released = {
        "model_type": "tinytimemixer",
        "context_length": 1024,
        "patch_length": 64,
        "patch_stride": 64,
        "d_model": 192,
        "num_layers": 2,
        "adaptive_patching_levels": 3,
        "expansion_factor": 2,
        "gated_attn": True,
    }
    assert TtmConfig.from_released(released, "here").n_positions == 16
    with pytest.raises(CheckpointError):
        TtmConfig.from_released(released | change, "here")


def test_windows_of_eeg_are_told_of_their_own_model() -> None:
    eeg = SignalSpec(channels=(Channel(name="Cz", kind="eeg"),), sampling_hz=100, n_samples=200)
    with pytest.raises(ConfigError, match="takes 1250 samples") as error:
        TtmConfig().build(eeg)
    assert "--set model.kind=eeg" in error.value.hint
    with pytest.raises(ConfigError) as error:
        TtmConfig().build(make_spec(1000))
    assert "--context-length 1000" in error.value.hint
