"""Models of braindecode are encoders: those of the package, where it loads, and of a stand-in."""

import sys

import pytest
import torch
from pydantic import TypeAdapter

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.models.braindecode import BraindecodeConfig, load_models
from biosig_cli.models.inflate import Inflation, inflate_weights
from biosig_cli.models.kinds import AnyModel
from biosig_cli.objectives.kinds import ObjectivesConfig
from tests.montages import montage_spec
from tests.other_models import stand_in_for_braindecode


@pytest.fixture
def stand_in(monkeypatch):
    stand_in_for_braindecode(monkeypatch)


def read(said):
    return TypeAdapter(AnyModel).validate_python(said)


@pytest.mark.parametrize("said", ["braindecode:Net", {"kind": "braindecode:Net"}])
def test_it_is_named_as_family_and_model(said):
    model = read(said)
    assert model == BraindecodeConfig(name="Net")
    assert model.called == "braindecode:Net"
    assert read(model.dump()) == model


@pytest.mark.usefixtures("stand_in")
def test_what_the_last_layer_would_be_given_is_the_token():
    spec = montage_spec()
    encoder = BraindecodeConfig(name="Net", settings={"n_filters": 5}).build(spec)
    signal = torch.randn(3, 19, 200)
    made = encoder(signal)
    expected = encoder.net.along(encoder.net.across(signal)).relu().flatten(1)
    assert made.tokens.shape == (3, 1, 1, 15) == (3, 1, encoder.n_positions, encoder.width)
    torch.testing.assert_close(made.tokens[:, 0, 0], expected)
    assert torch.equal(made.patches[:, :, 0], signal)
    assert len(encoder.montage()) == 1
    n_times, sampling_hz, channels = encoder.net.told
    assert (n_times, sampling_hz) == (200, 100)
    assert [each["ch_name"] for each in channels] == list(spec.names)
    assert channels[0]["loc"][:3] == pytest.approx([0.095 * x for x in spec.channels[0].position])


@pytest.mark.usefixtures("stand_in")
def test_only_what_has_a_part_may_move():
    encoder = BraindecodeConfig(name="Net").build(montage_spec())
    assert encoder.blocks == ("net.across", "net.along", "net.unused")
    assert set(encoder.reached) == {
        f"net.{layer}.{of}" for layer in ("across", "along") for of in ("weight", "bias")
    }
    assert all(each.grad is None for each in encoder.parameters())


@pytest.mark.usefixtures("stand_in")
def test_nothing_can_be_hidden_from_it():
    encoder = BraindecodeConfig(name="Net").build(montage_spec())
    with pytest.raises(ConfigError, match="nothing can be hidden"):
        encoder(torch.randn(1, 19, 200), torch.zeros(1, 19, 1, dtype=torch.bool))
    for objective in ("masked_eeg", "masked"):
        with pytest.raises(ConfigError, match=f"objectives.{objective} hides .* braindecode:Net"):
            ObjectivesConfig.parse({objective: {}}).build(encoder)
    pretraining = ObjectivesConfig.parse({"contrastive": {}}).build(encoder)
    assert pretraining.encoder is encoder


@pytest.mark.usefixtures("stand_in")
def test_it_keeps_the_channels_it_was_made_for():
    encoder = BraindecodeConfig(name="Net").build(montage_spec(("Fz", "Cz", "Pz")))
    weights = encoder.state_dict()
    same, _ = inflate_weights(weights, encoder.channel_dims, Inflation(("A", "B"), ("A", "B"), {}))
    assert all(torch.equal(same[name], weights[name]) for name in weights)
    with pytest.raises(CheckpointError, match="takes A, B, and no other channels"):
        inflate_weights(weights, encoder.channel_dims, Inflation(("A", "B"), ("B", "A"), {}))


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("settings", "n_samples", "said"),
    [
        ({"name": "Nett"}, 200, "has no model 'Nett'"),
        ({"name": "Several"}, 200, "its final_layer is several"),
        ({"name": "Net"}, 40, "19 channels x 40 samples at 100 Hz: windows are too short"),
        ({"name": "Net", "settings": {"filters": 2}}, 200, "unexpected keyword argument 'filters'"),
    ],
)
def test_what_can_not_be_made_is_refused_with_its_reason(settings, n_samples, said):
    with pytest.raises(ConfigError, match=said) as refused:
        BraindecodeConfig(**settings).build(montage_spec(n_samples=n_samples))
    assert refused.value.hint


class Broken:
    """Finds braindecode, and fails as importing it does."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "braindecode":
            raise self.error


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (
            ModuleNotFoundError("No module named 'braindecode'", name="braindecode"),
            "not installed \\(braindecode\\)",
            "pip install 'biosig[braindecode]'",
        ),
        (
            OSError("Could not load this library: _torchaudio.abi3.so\nand a trace"),
            "can't be loaded: torchaudio .* torch .*: Could not load .*abi3.so$",
            "download.pytorch.org/whl/cpu",
        ),
    ],
)
def test_a_package_that_does_not_load_says_what_to_install(monkeypatch, error, said, hint):
    for name in [name for name in sys.modules if name.partition(".")[0] == "braindecode"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    with pytest.raises(ConfigError, match=said) as refused:
        load_models()
    assert hint in refused.value.hint


@pytest.mark.parametrize("name", ["EEGNet", "ShallowFBCSPNet", "EEGConformer"])
def test_models_of_the_package_are_encoders(name):
    try:
        load_models()
    except ConfigError as error:
        pytest.skip(str(error))
    encoder = read(f"braindecode:{name}").build(montage_spec())
    signal = torch.randn(2, 19, 200)
    tokens = encoder(signal).tokens
    assert tokens.shape == (2, 1, 1, encoder.width)
    tokens.square().sum().backward()
    moved = {n for n, each in encoder.named_parameters() if each.grad is not None}
    assert moved == set(encoder.reached)
