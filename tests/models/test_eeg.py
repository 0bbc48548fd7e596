"""The EEG encoder knows places, takes any order of channels, and looks at nothing hidden."""

import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.models.adapters import AdapterConfig
from biosig_cli.models.eeg import EegConfig
from tests.montages import gsn_spec, montage_spec, reordered
from tests.stores import spec_of


@pytest.fixture(scope="module", params=["none", "perceiver"])
def encoder(request):
    torch.manual_seed(1)
    config = EegConfig(width=32, n_layers=2, adapter=AdapterConfig(kind=request.param))
    return config.build(montage_spec()).eval()


def example(spec, n=3):
    torch.manual_seed(2)
    return torch.randn(n, spec.n_channels, spec.n_samples), torch.rand(n, spec.n_channels, 8) < 0.5


@torch.no_grad()
@pytest.mark.parametrize("spec", [montage_spec(), gsn_spec()], ids=["19", "129"])
def test_nothing_hidden_has_any_influence(encoder, spec):
    signal, hidden = example(spec)
    other = signal.unflatten(-1, (8, 25)).clone()
    other[hidden] = 100.0
    one, two = (encoder(x, hidden, spec).tokens for x in (signal, other.flatten(2)))
    assert torch.equal(one, two)
    other = signal.unflatten(-1, (8, 25)).clone()
    other[~hidden] += 1.0
    assert not torch.allclose(one, encoder(other.flatten(2), hidden, spec).tokens)


@torch.no_grad()
def test_the_order_of_channels_does_not_matter(encoder):
    spec = gsn_spec()
    signal, hidden = example(spec)
    order = torch.randperm(spec.n_channels)
    tokens = encoder(signal, hidden, spec).tokens
    turned = encoder(signal[:, order], hidden[:, order], reordered(spec, order)).tokens
    torch.testing.assert_close(turned, tokens[:, order], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_channel_that_is_hidden_everywhere_is_as_if_it_did_not_exist(encoder):
    spec = montage_spec()
    signal, hidden = example(spec)
    hidden[:, 4] = True
    rest = [row for row in range(19) if row != 4]
    whole = encoder(signal, hidden, spec).tokens[:, rest]
    alone = encoder(signal[:, rest], hidden[:, rest], reordered(spec, rest)).tokens
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_where_an_electrode_sits_and_when_a_patch_is_are_told_apart():
    torch.manual_seed(1)
    encoder = EegConfig(width=32, n_layers=1).build(montage_spec()).eval()
    tokens = encoder(torch.ones(1, 19, 200)).tokens[0]
    assert not torch.allclose(tokens[0, 0], tokens[1, 0], atol=1e-4)
    assert not torch.allclose(tokens[0, 0], tokens[0, 1], atol=1e-4)


@torch.no_grad()
def test_how_strong_a_signal_is_stays_visible():
    torch.manual_seed(1)
    encoder = EegConfig(width=32, n_layers=1).build(montage_spec()).eval()
    signal, _ = example(montage_spec())
    assert not torch.allclose(encoder(signal).tokens, encoder(3 * signal).tokens, atol=1e-2)
    torch.testing.assert_close(encoder(signal).patches.flatten(2), signal)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="patches of 30 do not divide windows of 200"):
        EegConfig(patch_size=30).build(montage_spec())
    with pytest.raises(ConfigError, match="3 heads do not divide"):
        EegConfig(width=32, n_heads=3).build(montage_spec())
    with pytest.raises(ConfigError, match="PPG, ECG have no position"):
        EegConfig(patch_size=25).build(spec_of(names=("PPG", "ECG")))
