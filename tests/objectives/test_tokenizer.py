"""Codes of patches tell their spectrum; masked modelling asks for them, and for nothing else."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.eeg import EegConfig
from biosig_cli.models.pretrained import Trained
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.masked_codes import MaskedCodesConfig
from biosig_cli.objectives.montage_masks import hide_share
from biosig_cli.objectives.tokenizer import CodebookConfig, TokenizerConfig, spectrum_of
from tests.montages import montage_spec
from tests.stores import spec_of

NAMES = ("Fp1", "Cz", "O1", "O2")
SMALL = CodebookConfig(n_codes=16, width=8)
MODEL = EegConfig(patch_size=50, width=32, n_layers=1, embedding="conv", attention="full")


class Store:
    """Windows whose patches are tones of one of four rates: four codes would do."""

    def __init__(self, n=64, seed=0):
        draw = np.random.default_rng(seed)
        self.spec = montage_spec(NAMES)
        time = np.arange(50) / 100
        rates = draw.choice([4, 10, 18, 30], size=(n, 4, 4, 1))
        phases = draw.choice([0, np.pi / 2], size=(n, 4, 4, 1))
        tones = np.sin(2 * np.pi * rates * time + phases)
        self.windows = tones.reshape(n, 4, 200).astype(np.float32)

    def __len__(self):
        return len(self.windows)

    def read(self, rows):
        return self.windows[rows]

    def batch(self, rows):
        window = torch.as_tensor(rows)
        signal = torch.from_numpy(self.read(rows))
        return Batch(signal, window, window_keys(0, 0, window), spec=self.spec)


@pytest.fixture(scope="module")
def store():
    return Store()


@pytest.fixture(scope="module")
def tokenizer(store):
    """A trained tokenizer, and its figures before and after."""
    torch.manual_seed(0)
    encoder = MODEL.build(store.spec)
    asked = TokenizerConfig(codebook=SMALL, n_layers=1).build(encoder)
    pretraining = Pretraining(encoder, {"tokenizer": asked})
    pretraining.survey([store])
    before = judge(pretraining, store)
    train(pretraining, store, n_steps=120)
    return pretraining, before, judge(pretraining, store)


def judge(pretraining, store):
    pretraining.eval()
    with torch.no_grad():
        parts = pretraining(store.batch(np.arange(len(store)))).parts
    return {name: float(value) for name, value in parts.items()}


def train(pretraining, store, n_steps, lr=3e-3):
    pretraining.train()
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=lr)
    for step in range(n_steps):
        optimizer.zero_grad()
        rows = np.random.default_rng(step).choice(len(store), 32, replace=False)
        pretraining(store.batch(rows)).total.backward()
        optimizer.step()
        pretraining.stepped()


def test_targets_are_the_standardised_half_spectrum():
    patches = torch.randn(3, 4, 5, 50, generator=torch.manual_seed(0))
    amplitude, phase = spectrum_of(patches)
    assert amplitude.shape == phase.shape == (3, 4, 5, 26)
    spectrum = np.fft.rfft(patches[1].numpy().astype(np.float64))
    for made, wanted in ((amplitude, np.abs(spectrum)), (phase, np.angle(spectrum))):
        standard = (wanted - wanted.mean()) / wanted.std()
        np.testing.assert_allclose(made[1], standard, atol=1e-4)
    assert all(torch.isfinite(x).all() for x in spectrum_of(torch.zeros(1, 2, 3, 50)))


def test_it_begins_at_the_mean_spectrum_and_learns_more_than_that(tokenizer):
    _, before, after = tokenizer
    assert after["spectrum_mean"] == pytest.approx(before["spectrum_mean"])
    assert before["spectrum"] == pytest.approx(before["spectrum_mean"], abs=0.3)
    assert after["spectrum"] < 0.6 * after["spectrum_mean"]
    assert after["codes_perplexity"] > 3
    assert after["codes_in_use"] > 0.3


def test_all_that_the_answer_knows_of_a_patch_is_its_code(tokenizer, store):
    pretraining = deepcopy(tokenizer[0])
    asked = pretraining.objectives["tokenizer"]
    codes = asked.quantizer.codebook.vectors
    codes[:] = codes[0].clone()
    told = judge(pretraining, store)
    assert told["spectrum"] > 0.8 * told["spectrum_mean"]


def test_gradients_pass_the_codes_straight(store):
    torch.manual_seed(0)
    encoder = MODEL.build(store.spec)
    asked = TokenizerConfig(codebook=SMALL, n_layers=1, commitment_weight=0).build(encoder)
    asked(encoder, store.batch(np.arange(8))).total.backward()
    assert encoder.layers[0].all.qkv.weight.grad.abs().sum() > 0
    assert "vectors" not in dict(asked.quantizer.codebook.named_parameters())


def test_a_collapsed_codebook_is_named():
    asked = TokenizerConfig(codebook=CodebookConfig(n_codes=8192))
    (said,) = asked.doubts({"val_codes_in_use": 0.01})
    assert "1.0% of 8,192 codes" in said
    assert "n_codes=512" in said
    assert asked.doubts({"val_codes_in_use": 0.2}) == ()


def left_by(pretraining, store):
    return Trained(
        MODEL,
        pretraining.encoder.state_dict(),
        store.spec,
        "artifacts/eeg_tokenizer",
        "",
        decoder=pretraining.objectives.state_dict(),
    )


def ask_for_codes(weights, store, **settings):
    torch.manual_seed(1)
    encoder = MODEL.build(store.spec)
    config = MaskedCodesConfig(codebook=SMALL, **settings)
    assert config.begins_anew(weights)
    asked = config.build(encoder)
    said = asked.take_over("masked_codes", weights)
    assert said == "asks for the 16 codes of artifacts/eeg_tokenizer"
    pretraining = Pretraining(encoder, {"masked_codes": asked})
    pretraining.survey([store])
    return pretraining


@pytest.fixture
def weights(tokenizer, store):
    return left_by(tokenizer[0], store)


def test_codes_are_those_of_the_tokenizer_which_never_moves(tokenizer, weights, store):
    source = tokenizer[0].eval()
    pretraining = ask_for_codes(weights, store)
    asked = pretraining.objectives["masked_codes"]
    batch = store.batch(np.arange(8))
    quantizer = source.objectives["tokenizer"].quantizer
    by_hand = quantizer.codebook(quantizer.vectors(source.encoder(batch.signal).tokens))
    assert torch.equal(asked.codes(batch.signal, store.spec), by_hand)
    before = {name: value.clone() for name, value in asked.tokenizer.state_dict().items()}
    assert not any(name.startswith("tokenizer") for name, _ in asked.named_parameters())
    train(pretraining, store, n_steps=3)
    assert all(torch.equal(v, before[name]) for name, v in asked.tokenizer.state_dict().items())
    # The encoder is another one: it begins with weights of its own.
    assert not torch.equal(pretraining.encoder.place.weight, source.encoder.place.weight)


def test_both_halves_are_asked_in_turn_and_nothing_hidden_is_seen(weights, store):
    pretraining = ask_for_codes(weights, store)
    asked, encoder = pretraining.objectives["masked_codes"], pretraining.encoder.eval()
    batch = store.batch(np.arange(16))
    hidden = hide_share(encoder, batch.key, store.spec, ratio=0.5)
    assert hidden.flatten(1).sum(dim=1).eq(8).all()
    codes = asked.codes(batch.signal, store.spec)
    both = []
    for mask in (hidden, ~hidden):
        answer = asked.answer(encoder(batch.signal, mask, store.spec).tokens)
        both.append(torch.nn.functional.cross_entropy(answer[mask], codes[mask]))
    torch.testing.assert_close(asked(encoder, batch).total, both[0] + both[1])
    once = ask_for_codes(weights, store, symmetric=False)
    alone = once.objectives["masked_codes"](once.encoder.eval(), batch).total
    torch.testing.assert_close(alone, both[0])


def test_trivial_answers_stand_beside_it(weights, store):
    pretraining = ask_for_codes(weights, store)
    asked = pretraining.objectives["masked_codes"]
    parts = judge(pretraining, store)
    codes = asked.codes(torch.from_numpy(store.windows), store.spec)
    share = (torch.bincount(codes.flatten(), minlength=16) + 1) / (codes.numel() + 16)
    assert parts["cross_entropy_frequent"] == pytest.approx(
        float(-share.log()[codes].mean()), abs=1e-4
    )
    assert parts["accuracy_frequent"] == pytest.approx(
        float((codes == share.argmax()).float().mean())
    )
    placed = np.mean([
        (codes[:, c, p] == codes[:, c, p].mode().values).float().mean()
        for c in range(4)
        for p in range(4)
    ])  # fmt: skip
    assert parts["accuracy_placed"] == pytest.approx(placed, abs=1e-6)
    assert parts["cross_entropy_chance"] == pytest.approx(math.log(16))
    assert parts["accuracy_chance"] == 1 / 16
    config = MaskedCodesConfig(codebook=SMALL)
    assert config.doubts({"val_accuracy": 0.2, "val_accuracy_placed": 0.3})
    assert not config.doubts({"val_accuracy": 0.4, "val_accuracy_placed": 0.3})


def test_it_goes_on_with_what_a_parent_run_of_its_own_has(weights, store):
    first = ask_for_codes(weights, store)
    own = left_by(first, store)
    config = MaskedCodesConfig(codebook=SMALL)
    assert not config.begins_anew(own)
    asked = config.build(MODEL.build(store.spec))
    assert asked.take_over("masked_codes", own).startswith("all ")
    batch = store.batch(np.arange(4))
    there = first.objectives["masked_codes"].codes(batch.signal, store.spec)
    assert torch.equal(asked.codes(batch.signal, store.spec), there)


def test_what_does_not_fit_is_refused(weights, store):
    ppg = TtmConfig(width=16, n_layers=1, n_levels=1).build(spec_of(names=("PPG", "ECG")))
    for config in (TokenizerConfig(), MaskedCodesConfig()):
        with pytest.raises(ConfigError, match="knows places, not TtmEncoder"):
            config.build(ppg)
    encoder = MODEL.build(store.spec)
    with pytest.raises(ConfigError, match="no codes to ask for"):
        MaskedCodesConfig(codebook=SMALL).build(encoder).take_over("masked_codes", None)
    other = MaskedCodesConfig(codebook=CodebookConfig(n_codes=32, width=8)).build(encoder)
    with pytest.raises(ConfigError, match=r"16 codes of 8 features.*asks for 32 of 8"):
        other.take_over("masked_codes", weights)
