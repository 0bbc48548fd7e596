"""Masked EEG: only what is hidden counts, nothing leaks, real EEG is learned."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.eeg import EegConfig
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.masked_eeg import MaskedEegConfig
from tests.montages import gsn_spec, montage_spec
from tests.stores import spec_of


class Store:
    """Windows of a montage in which neighbours are alike."""

    def __init__(self, spec, n=40, seed=0):
        draw = np.random.default_rng(seed)
        places = np.array([channel.position for channel in spec.channels])
        sources = draw.normal(size=(n, 3, spec.n_samples + 10))
        smooth = np.stack([sources[..., k : k + spec.n_samples] for k in range(10)]).mean(axis=0)
        noise = 0.1 * draw.normal(size=(n, spec.n_channels, spec.n_samples))
        self.windows = (3 * np.einsum("ck,nkt->nct", places, smooth) + noise).astype(np.float32)
        self.spec = spec

    def __len__(self):
        return len(self.windows)

    def read(self, rows):
        return self.windows[rows]


def make(spec, **settings):
    torch.manual_seed(0)
    encoder = EegConfig(width=32, n_layers=2).build(spec)
    objective = MaskedEegConfig(**settings).build(encoder)
    return encoder, objective


def batch_of(store, n=16):
    window = torch.arange(n)
    signal = torch.from_numpy(store.read(np.arange(n)))
    return Batch(signal, window, window_keys(0, 0, window), spec=store.spec)


def test_only_hidden_patches_count_and_their_content_does_not_reach_the_answer():
    store = Store(montage_spec())
    encoder, objective = make(store.spec, spectral_weight=0, pooled_weight=0)
    torch.nn.init.normal_(objective.decoder.weight, std=0.1)
    batch = batch_of(store)
    hidden = objective.draw(encoder, batch.key, store.spec)
    batch.signal.requires_grad_()
    losses = objective(encoder, batch)
    tokens = encoder(batch.signal, hidden, store.spec).tokens
    target = batch.signal.unflatten(-1, (8, 25))
    by_hand = (objective.decoder(tokens) - target).abs()[hidden].mean()
    torch.testing.assert_close(losses.total, by_hand)
    (gradient,) = torch.autograd.grad(tokens.square().sum(), batch.signal)
    assert gradient.unflatten(-1, (8, 25))[hidden].abs().max() == 0


def test_the_total_is_the_weighted_sum_of_its_parts():
    store = Store(montage_spec())
    encoder, objective = make(store.spec, spectral_weight=0.3, pooled_weight=0.2)
    losses = objective(encoder, batch_of(store))
    parts = losses.parts
    expected = parts["l1"] + 0.3 * parts["spectral"] + 0.2 * parts["pooled"]
    torch.testing.assert_close(losses.total.detach(), expected)


def test_symmetric_masks_ask_for_everything_once():
    store = Store(montage_spec())
    encoder, one = make(store.spec, mask_ratio=0.5, spectral_weight=0, pooled_weight=0)
    _, both = make(store.spec, mask_ratio=0.5, spectral_weight=0, pooled_weight=0, symmetric=True)
    batch = batch_of(store)
    # With an answer of zero, all that was asked is the mean size of the signal.
    torch.testing.assert_close(both(encoder, batch).total, batch.signal.abs().mean())
    assert not torch.isclose(one(encoder, batch).total, batch.signal.abs().mean(), rtol=1e-4)


def test_it_learns_and_is_set_beside_answers_from_neighbours():
    store = Store(montage_spec())
    encoder, objective = make(store.spec)
    objective.survey(encoder, [store])
    batch = batch_of(store, 32)
    parameters = [*encoder.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        objective(encoder, batch).total.backward()
        optimizer.step()
    encoder.eval(), objective.eval()
    parts = objective(encoder, batch).parts
    r2 = {name: 1 - float(parts[name] / parts["zero"]) for name in ("mse", "spline", "ridge")}
    assert r2["mse"] > 0.6, r2
    assert 0.3 < r2["spline"] < r2["ridge"] < 1, r2


def test_montages_take_turns_and_each_has_its_own_covariance():
    small, large = Store(montage_spec()), Store(gsn_spec(), seed=1)
    encoder, objective = make(small.spec)
    objective.survey(encoder, [small, large])
    objective.eval()
    for store in (small, large):
        parts = objective(encoder, batch_of(store, 4)).parts
        assert float(parts["ridge"]) < 0.3 * float(parts["zero"])


def test_another_encoder_is_refused():
    encoder = TtmConfig(width=16, n_layers=1, n_levels=1).build(spec_of(names=("PPG", "ECG")))
    with pytest.raises(ConfigError, match="knows places, not TtmEncoder"):
        MaskedEegConfig().build(encoder)
