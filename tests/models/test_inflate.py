"""Inflation maps channels by name, and the channels that were known say what they said before."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.models.inflate import NOISE, Inflation, inflate_weights
from biosig_cli.models.ttm import TtmConfig, TtmEncoder
from biosig_cli.signal.spec import Channel, SignalSpec

FIVE = ("ACC_X", "ACC_Y", "ACC_Z", "PPG", "ECG")
SMALL = TtmConfig(context_length=80, patch_size=10, width=16, n_layers=1, n_levels=1)


def encoder_for(*names: str) -> TtmEncoder:
    channels = tuple(Channel(name=name, kind="other") for name in names)
    return SMALL.build(SignalSpec(channels=channels, sampling_hz=8.0, n_samples=80)).eval()


@pytest.fixture
def pretrained() -> TtmEncoder:
    """An encoder of PPG and ECG whose every parameter is what training might make of it."""
    torch.manual_seed(3)
    encoder = encoder_for("PPG", "ECG")
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def inflated(encoder: TtmEncoder, *names: str, **settings: object) -> TtmEncoder:
    inflation = Inflation(encoder.spec.names, names, settings.pop("renamed", {}), **settings)
    weights, _ = inflate_weights(encoder.state_dict(), encoder.channel_dims, inflation)
    wider = encoder_for(*names)
    wider.load_state_dict(weights)
    return wider


@torch.no_grad()
def test_old_channels_say_the_same_while_new_ones_are_absent(pretrained: TtmEncoder) -> None:
    signal = torch.randn(4, 2, 80)
    before = pretrained(signal).tokens
    wider = inflated(pretrained, *FIVE)
    five = torch.randn(4, 5, 80)
    five[:, [3, 4]] = signal
    hidden = torch.zeros(4, 5, 8, dtype=torch.bool)
    hidden[:, :3] = True
    after = wider(five, hidden).tokens[:, [3, 4]]
    assert (after - before).abs().max() < 1e-6
    present = wider(five).tokens[:, [3, 4]]
    assert (present - before).abs().max() > 1e-3, "a new channel that is there is heard"


@torch.no_grad()
def test_an_absent_channel_has_no_influence_whatever_it_holds(pretrained: TtmEncoder) -> None:
    wider = inflated(pretrained, *FIVE)
    one, other = torch.randn(2, 4, 5, 80)
    other[:, 3:] = one[:, 3:]
    hidden = torch.zeros(4, 5, 8, dtype=torch.bool)
    hidden[:, :3] = True
    assert torch.equal(wider(one, hidden).tokens[:, 3:], wider(other, hidden).tokens[:, 3:])


@torch.no_grad()
@pytest.mark.parametrize("names", [("ECG", "PPG"), ("PPG", "ECG")])
def test_reordered_channels_change_nothing(pretrained: TtmEncoder, names: tuple[str, str]) -> None:
    signal = torch.randn(3, 2, 80)
    order = [pretrained.spec.names.index(name) for name in names]
    turned = inflated(pretrained, *names)(signal[:, order]).tokens
    torch.testing.assert_close(turned, pretrained(signal).tokens[:, order], rtol=0, atol=1e-6)


@torch.no_grad()
def test_fewer_channels_keep_what_each_says_alone(pretrained: TtmEncoder) -> None:
    five = inflated(pretrained, *FIVE)
    back = inflated(five, "PPG", "ECG")
    for name, tensor in pretrained.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_known_rows_are_copied_and_new_ones_are_the_mean_plus_noise(pretrained: TtmEncoder) -> None:
    wider = inflated(pretrained, *FIVE)
    known = pretrained.channel_embedding
    assert torch.equal(wider.channel_embedding[3:], known)
    noise = wider.channel_embedding[:3] - known.mean(0)
    assert 0.6 * NOISE < noise.std() < 1.4 * NOISE
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(wider.mixer.weight[3:, 3:], pretrained.mixer.weight)
    assert torch.equal(inflated(pretrained, *FIVE).mixer.weight, wider.mixer.weight), "seeded"
    other = inflated(pretrained, *FIVE, seed=7)
    assert not torch.equal(other.mixer.weight, wider.mixer.weight)


def test_zero_and_copy_start_as_they_say(pretrained: TtmEncoder) -> None:
    zero = inflated(pretrained, "ACC_X", "PPG", init="zero")
    assert zero.channel_embedding[0].abs().max() == 0
    assert zero.mixer.weight[0].abs().max() == zero.mixer.weight[:, 0].abs().max() == 0
    copy = inflated(pretrained, "ACC_X", "PPG", init="copy:ECG")
    assert torch.equal(copy.channel_embedding[0], pretrained.channel_embedding[1])


def test_a_channel_may_have_another_name(pretrained: TtmEncoder) -> None:
    renamed = inflated(pretrained, "PLETH", "ECG", renamed={"PLETH": "PPG"})
    assert torch.equal(renamed.channel_embedding, pretrained.channel_embedding)


def test_every_tensor_is_accounted_for(pretrained: TtmEncoder) -> None:
    inflation = Inflation(("PPG", "ECG"), FIVE, {})
    _, fates = inflate_weights(pretrained.state_dict(), pretrained.channel_dims, inflation)
    assert {fate.name for fate in fates} == set(pretrained.state_dict())
    widened = {fate.name: (fate.before, fate.after) for fate in fates if fate.fate == "widened"}
    assert widened == {
        "channel_embedding": ((2, 16), (5, 16)),
        "mixer.weight": ((2, 2), (5, 5)),
    }


def test_new_rows_and_columns_are_the_mean_of_known_ones_with_noise_of_a_hundredth() -> None:
    torch.manual_seed(1)
    weights = {"wide": torch.randn(2, 40_000, dtype=torch.float64), "mixer": torch.randn(2, 2)}
    inflation = Inflation(("PPG", "ECG"), ("ECG", "A", "PPG", "B"), {})
    made, _ = inflate_weights(weights, {"wide": (0,), "mixer": (0, -1)}, inflation)
    assert made["wide"].dtype == torch.float64
    assert torch.equal(made["wide"][[2, 0]], weights["wide"])
    noise = made["wide"][[1, 3]] - weights["wide"].mean(0)
    assert noise.std(dim=1).tolist() == pytest.approx([0.01, 0.01], rel=0.03)
    assert noise.mean(dim=1).tolist() == pytest.approx([0, 0], abs=3e-4)
    known, drawn = [2, 0], [1, 3]
    mixer = made["mixer"]
    assert torch.equal(mixer[known][:, known], weights["mixer"])
    for mine, mean in (
        (mixer[drawn][:, known], weights["mixer"].mean(0, keepdim=True).expand(2, 2)),
        (mixer[known][:, drawn], weights["mixer"].mean(1, keepdim=True).expand(2, 2)),
        (mixer[drawn][:, drawn], weights["mixer"].mean().expand(2, 2)),
    ):
        torch.testing.assert_close(mine, mean, atol=0.05, rtol=0)
        assert not torch.equal(mine, mean)


@pytest.mark.parametrize("init", ["mean", "zero", "copy:B"])
def test_what_stays_is_a_copy_that_shares_no_memory(init: str) -> None:
    weights = {"known": torch.ones(2, 3), "other": torch.arange(3)}
    for wanted, dims in ((("A", "B"), {"known": (0,)}), (("A", "B"), None), (("B", "C"), {})):
        inflation = Inflation(("A", "B"), wanted, {}, init)
        made, fates = inflate_weights(weights, dims, inflation)
        assert {each.fate for each in fates} == {"copied"}
        assert [(each.name, each.before, each.after) for each in fates] == [
            ("known", (2, 3), (2, 3)),
            ("other", (3,), (3,)),
        ]
        for name, tensor in weights.items():
            assert torch.equal(made[name], tensor)
            assert made[name].data_ptr() != tensor.data_ptr()


def test_an_encoder_whose_channels_are_not_known_to_change_is_refused() -> None:
    weights = {"a": torch.ones(3)}
    with pytest.raises(CheckpointError, match="takes PPG, ECG, and no other channels") as error:
        inflate_weights(weights, None, Inflation(("PPG", "ECG"), ("ECG", "PPG"), {}))
    assert "--channels PPG,ECG" in error.value.hint
    with pytest.raises(CheckpointError, match=r"a has 3 channels along dimension 0.* knows 2"):
        inflate_weights(weights, {"a": (0,)}, Inflation(("PPG", "ECG"), FIVE, {}))


def test_where_each_channel_comes_from_is_told() -> None:
    def told(init: str, **settings: object) -> dict[str, tuple[str | None, str]]:
        inflation = Inflation(("PPG", "ECG"), ("X", "ECG", "PLETH"), {"PLETH": "PPG"}, init)
        assert not inflation.is_identity
        return {each.channel: (each.known, each.how) for each in inflation.origins}

    carried = {"ECG": ("ECG", "copied from ECG"), "PLETH": ("PPG", "copied from PPG")}
    assert told("mean") == {"X": (None, "mean of PPG, ECG + noise 0.01")} | carried
    assert told("zero") == {"X": (None, "zero")} | carried
    assert told("copy:ECG") == {"X": (None, "copy:ECG")} | carried
    assert Inflation(("A", "B"), ("A", "B"), {}).is_identity


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="none of which is among ACC_X, ACC_Y") as error:
        Inflation(("PPG", "ECG"), ("ACC_X", "ACC_Y"), {})
    assert "--map ACC_X=PPG" in error.value.hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"init": "random"}, "unknown --init 'random'"),
        ({"init": "copy"}, "unknown --init 'copy'"),
        ({"init": "zero:PPG"}, "unknown --init 'zero:PPG'"),
        ({"init": "copy:EEG"}, "no channel EEG"),
        ({"renamed": {"PLETH": "PPG"}}, "not among --channels: PLETH"),
        ({"renamed": {"ACC_X": "EEG"}}, "no channel EEG"),
        ({"wanted": ("PPG", "PPG")}, "channel PPG stands twice"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Inflation(**{"known": ("PPG", "ECG"), "wanted": FIVE, "renamed": {}} | settings)


def test_an_encoder_of_another_family_is_refused(pretrained: TtmEncoder) -> None:
    weights = {n: t for n, t in pretrained.state_dict().items() if n != "mixer.weight"}
    with pytest.raises(CheckpointError, match=r"no mixer\.weight; it is of another family"):
        inflate_weights(weights, pretrained.channel_dims, Inflation(("PPG", "ECG"), FIVE, {}))


def test_a_new_electrode_starts_from_those_around_it() -> None:
    pytest.importorskip("mne", reason="the extra `eeg` is not installed")
    from biosig_cli.models.adapters import TEN_TWENTY
    from biosig_cli.signal.electrodes import electrode_positions
    from biosig_cli.signal.splines import spline_matrix

    wanted = (*TEN_TWENTY[:5], "FCz", "Oz")
    places = electrode_positions((*TEN_TWENTY, "FCz", "Oz"))
    inflation = Inflation(TEN_TWENTY, wanted, {}, "position", places=places)
    embedding, mixer = torch.randn(19, 4), torch.randn(19, 19)
    weights = {"embedding": embedding, "mixer": mixer, "other": torch.ones(3)}
    made, _ = inflate_weights(weights, {"embedding": (0,), "mixer": (0, 1)}, inflation)
    assert torch.equal(made["embedding"][:5], embedding[:5])
    assert torch.equal(made["mixer"][:5, :5], mixer[:5, :5])
    known, there = (
        np.array([places[name] for name in names]) for names in (TEN_TWENTY, ("FCz", "Oz"))
    )
    spline = torch.from_numpy(spline_matrix(known, there)).float()
    torch.testing.assert_close(made["embedding"][5:], spline @ embedding)
    torch.testing.assert_close(made["mixer"][5:, 5:], spline @ mixer @ spline.T)
    hows = {each.channel: each.how for each in inflation.origins}
    assert hows["Oz"].endswith(("most of it from O1", "most of it from O2"))
    with pytest.raises(ConfigError, match="no position is known of PPG"):
        Inflation(TEN_TWENTY, ("PPG",), {}, "position", places=places)
