"""Adapters go by names and positions, and take any montage with the same weights."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.models.adapters import TEN_TWENTY, AdapterConfig, Perceiver, stand_ins
from biosig_cli.models.eeg import EegConfig
from tests.montages import gsn_spec, montage_spec, reordered

FEW = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "O2")


def adapt(kind, signal, spec, electrodes=TEN_TWENTY):
    return AdapterConfig(kind=kind, electrodes=electrodes).build()(signal, spec.channels)


def test_select_takes_electrodes_by_name_whatever_their_order():
    spec = montage_spec()
    signal = torch.randn(2, 19, 200)
    order = torch.randperm(19)
    adapted = adapt("select", signal[:, order], reordered(spec, order), FEW)
    rows = [spec.names.index(name) for name in FEW]
    assert torch.equal(adapted.signal, signal[:, rows])
    assert adapted.absent is None


def test_electrodes_of_a_net_with_numbers_stand_for_those_with_names():
    spec = gsn_spec()
    targets = montage_spec().channels
    rows = stand_ins(spec.channels, targets)
    assert None not in rows
    assert len(set(rows)) == 19
    # As the makers of the net match them: Luu and Ferree, HydroCel GSN (2005), table 1.
    known = {"Fp1": "E22", "F3": "E24", "C3": "E36", "C4": "E104", "Pz": "E62", "O1": "E70"}
    found = {name: spec.names[rows[TEN_TWENTY.index(name)]] for name in known}
    assert found == known


def test_select_refuses_a_montage_that_lacks_a_target():
    spec = montage_spec(("Fz", "Cz", "Pz"))
    with pytest.raises(ConfigError, match="have nothing at Fp1"):
        adapt("select", torch.randn(1, 3, 200), spec)


def test_zero_pad_marks_what_is_not_there():
    spec = montage_spec(FEW)
    signal = torch.randn(2, 7, 200)
    adapted = adapt("zero_pad", signal, spec)
    there = [TEN_TWENTY.index(name) for name in FEW]
    assert torch.equal(adapted.signal[:, there], signal)
    assert adapted.absent.tolist() == [name not in FEW for name in TEN_TWENTY]
    assert not adapted.signal[:, adapted.absent].any()
    with pytest.raises(ConfigError, match="none of the target"):
        adapt("zero_pad", torch.randn(1, 1, 200), montage_spec(("Oz",)), ("Fp1",))


def test_splines_draw_what_mne_draws():
    mne = pytest.importorskip("mne")
    from mne.channels.interpolation import _make_interpolation_matrix

    from biosig_cli.signal.splines import spline_matrix

    known, wanted = (
        np.array([channel.position for channel in spec.channels])
        for spec in (montage_spec(), gsn_spec())
    )
    ours = spline_matrix(known, wanted)
    theirs = _make_interpolation_matrix(known, wanted, alpha=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-6)
    assert np.linalg.matrix_rank(ours, tol=1e-3) == 19
    assert mne.__version__


def test_a_field_that_is_smooth_on_the_head_survives_the_spline():
    dense, sparse = gsn_spec(), montage_spec()
    field = lambda spec: torch.tensor([[c.position] for c in spec.channels]).float()  # noqa: E731
    signal = field(dense)[:, 0, 2].view(1, -1, 1) + 0.5 * field(dense)[:, 0, 0].view(1, -1, 1)
    wanted = field(sparse)[:, 0, 2].view(1, -1, 1) + 0.5 * field(sparse)[:, 0, 0].view(1, -1, 1)
    made = adapt("spline", signal.expand(-1, -1, 200), dense).signal
    torch.testing.assert_close(made[..., :1], wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["none", "select", "zero_pad", "spline", "perceiver"])
def test_the_same_weights_take_two_montages_in_turn_and_learn_from_both(kind):
    torch.manual_seed(0)
    model = EegConfig(width=16, n_layers=1, n_heads=2, adapter=AdapterConfig(kind=kind))
    small, large = montage_spec(), gsn_spec()
    encoder = model.build(small)
    names = [name for name, _ in encoder.named_parameters()]
    optimizer = torch.optim.AdamW(encoder.parameters())
    for spec in (small, large, small):
        signal = torch.randn(2, spec.n_channels, 200)
        tokens = encoder(signal, None, spec).tokens
        assert tokens.shape == (2, len(encoder.montage(spec)), 8, 16)
        tokens.square().mean().backward()
    missing = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert missing == ["mask_token"]
    optimizer.step()
    assert [name for name, _ in encoder.named_parameters()] == names
    again = model.build(large)
    again.load_state_dict(encoder.state_dict())


def test_the_perceiver_is_in_the_optimizer_and_moves_with_the_first_step():
    encoder = EegConfig(width=16, n_layers=1, adapter=AdapterConfig(kind="perceiver")).build(
        montage_spec()
    )
    assert isinstance(encoder.perceiver, Perceiver)
    before = encoder.perceiver.queries.detach().clone()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1)
    signal = torch.randn(2, 19, 200)
    encoder(signal, torch.rand(2, 19, 8) < 0.5).tokens.square().mean().backward()
    optimizer.step()
    assert not torch.equal(before, encoder.perceiver.queries)


def test_electrodes_that_nobody_knows_are_refused():
    with pytest.raises(ConfigError, match="Xx9"):
        EegConfig(adapter=AdapterConfig(kind="select", electrodes=("Xx9",))).build(montage_spec())
