"""Trivial answers to masked EEG equal what numpy solves window by window."""

import numpy as np
import pytest
import torch

from biosig_cli.models.adapters import places_of
from biosig_cli.objectives.neighbours import (
    SHRINKAGE,
    covariance_answer,
    covariance_of,
    spline_answer,
)
from biosig_cli.signal.splines import spline_matrix
from tests.montages import montage_spec

PLACES = places_of(montage_spec().channels)


def example(ratio=0.4):
    torch.manual_seed(3)
    target = torch.randn(4, 19, 8, 25)
    hidden = torch.rand(4, 19, 8) < ratio
    hidden[0, :, 2] = True
    return target, hidden


def one_by_one(target, hidden, solve):
    answer = torch.zeros_like(target)
    for window in range(len(target)):
        for time in range(target.shape[2]):
            gone = hidden[window, :, time].numpy()
            if not gone.all():
                there = target[window, ~gone, time].double().numpy()
                answer[window, gone, time] = torch.from_numpy(solve(gone) @ there).float()
    return answer


def test_splines_are_those_from_the_visible_electrodes():
    target, hidden = example()
    answer = spline_answer(target, hidden, PLACES)
    expected = one_by_one(target, hidden, lambda gone: spline_matrix(PLACES[~gone], PLACES[gone]))
    chosen = hidden[..., None].expand_as(target)
    torch.testing.assert_close(answer[chosen], expected[chosen], atol=2e-3, rtol=1e-3)


def test_ridge_is_the_regression_on_the_visible_electrodes():
    target, hidden = example()
    windows = np.random.default_rng(0).normal(size=(50, 19, 200)).cumsum(axis=1)
    covariance = covariance_of(windows)
    np.testing.assert_allclose(
        covariance, np.cov(windows.transpose(1, 0, 2).reshape(19, -1), bias=True), atol=0.2
    )
    sigma = covariance.numpy()
    ridge = SHRINKAGE * np.trace(sigma) / 19

    def solve(gone):
        inside = sigma[np.ix_(~gone, ~gone)] + ridge * np.eye((~gone).sum())
        return sigma[np.ix_(gone, ~gone)] @ np.linalg.inv(inside)

    answer = covariance_answer(target, hidden, covariance)
    expected = one_by_one(target, hidden, solve)
    chosen = hidden[..., None].expand_as(target)
    torch.testing.assert_close(answer[chosen], expected[chosen], atol=1e-4, rtol=1e-4)


def test_where_nothing_is_visible_the_answer_is_zero():
    target, hidden = example()
    for answer in (
        spline_answer(target, hidden, PLACES),
        covariance_answer(target, hidden, torch.eye(19).double()),
    ):
        assert answer[0, :, 2].abs().max() == pytest.approx(0, abs=1e-6)
        assert torch.isfinite(answer).all()
