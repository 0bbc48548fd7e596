"""Masks of a montage hide exactly as many patches as asked for, where they are said to."""

import pytest
import torch

from biosig_cli.engine.draws import window_keys
from biosig_cli.models.adapters import places_of
from biosig_cli.objectives.montage_masks import draw_mask
from tests.montages import gsn_spec, montage_spec


def places(spec):
    return torch.from_numpy(places_of(spec.channels)).float()


def draw(kind, n_hidden=76, spec=None, n_windows=200, epoch=0):
    keys = window_keys(7, epoch, torch.arange(n_windows))
    where = places(spec or montage_spec())
    return draw_mask(keys, where, 8, kind=kind, n_hidden=n_hidden, radius=0.6, span=3)


@pytest.mark.parametrize("kind", ["random", "time", "block"])
@pytest.mark.parametrize("n_hidden", [1, 76, 151])
def test_every_window_has_as_many_hidden_as_asked_for(kind, n_hidden):
    hidden = draw(kind, n_hidden)
    assert hidden.shape == (200, 19, 8)
    assert (hidden.flatten(1).sum(dim=1) == n_hidden).all()
    assert torch.equal(hidden, draw(kind, n_hidden))
    assert not torch.equal(hidden, draw(kind, n_hidden, epoch=1))


def test_random_masks_hide_every_patch_equally_often():
    share = draw("random", n_windows=4000).float().mean(dim=0)
    assert (share - 0.5).abs().max() < 0.05


def test_time_masks_hide_all_electrodes_at_once():
    hidden = draw("time", 19 * 4)
    per_time = hidden.sum(dim=1)
    assert set(per_time.unique().tolist()) == {0, 19}


@pytest.mark.parametrize("spec", [montage_spec(), gsn_spec()], ids=["19", "129"])
def test_blocks_hide_neighbours_in_space_and_time(spec):
    n = spec.n_channels * 4
    where = places(spec)
    near = torch.cdist(where, where) < 0.6
    alike = {}
    for kind in ("random", "block"):
        hidden = draw(kind, n, spec, 64).float()
        pairs = torch.einsum("bcp,bdp->cd", hidden, hidden) / hidden.sum(dim=(0, 2))[:, None]
        alike[kind] = pairs[near & ~torch.eye(len(where), dtype=torch.bool)].mean()
        together = (hidden[..., 1:] * hidden[..., :-1]).mean() / hidden[..., :-1].mean()
        alike[kind, "time"] = together
    assert alike["block"] > alike["random"] + 0.15
    assert alike["block", "time"] > alike["random", "time"] + 0.1


def test_blocks_hide_no_moment_much_more_often_than_another():
    share = draw("block", n_windows=4000).float().mean(dim=(0, 1))
    assert share.max() - share.min() < 0.05
