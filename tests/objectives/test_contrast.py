"""The contrastive loss has the values that its definition gives; its pairs are the right ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from biosig_cli.objectives.contrast import (
    InfoNce,
    Pairs,
    info_nce,
    mean_isc,
    pair_up,
    retrieval,
    spread_penalty,
)
from biosig_cli.tasks.isc import isc


def crossed(n_subjects=4, n_segments=5, step_s=2.0):
    """Return codes of everybody at every moment of one movie."""
    subject = torch.arange(n_subjects).repeat(n_segments)
    segment = torch.arange(n_segments).repeat_interleave(n_subjects)
    return subject, segment, torch.zeros_like(subject), segment * step_s


def unit(n, d=8, seed=0):
    torch.manual_seed(seed)
    return F.normalize(torch.randn(n, d), dim=1)


def test_pairs_are_the_same_moment_of_other_people():
    subject, segment, movie, time_s = crossed()
    pairs = pair_up(subject, segment, movie, time_s, guard_s=3.0)
    for i in range(20):
        for j in range(20):
            same_person, same_moment = subject[i] == subject[j], segment[i] == segment[j]
            distance = abs(time_s[i] - time_s[j])
            assert pairs.positive[i, j] == (same_moment and not same_person)
            is_near = not same_moment and distance < 3.0
            is_compared = not (same_person and same_moment) and not is_near
            assert pairs.candidate[i, j] == is_compared


def test_moments_of_another_movie_are_compared_however_near():
    subject = torch.tensor([0, 1, 0, 1])
    segment, movie = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1])
    time_s = torch.tensor([0.0, 0.0, 1.0, 1.0])
    pairs = pair_up(subject, segment, movie, time_s, guard_s=5.0)
    assert pairs.candidate[0].tolist() == [False, True, True, True]


def test_with_one_positive_it_is_nt_xent():
    embedding = unit(12)
    partner = torch.arange(12) ^ 1
    positive = F.one_hot(partner, 12).bool()
    pairs = Pairs(positive, ~torch.eye(12, dtype=torch.bool))
    logits = (embedding @ embedding.T / 0.1).fill_diagonal_(-torch.inf)
    torch.testing.assert_close(info_nce(embedding, pairs, 0.1), F.cross_entropy(logits, partner))


def test_multi_positive_value_is_that_of_the_definition():
    embedding, pairs = unit(20), pair_up(*crossed(), guard_s=3.0)
    by_hand = []
    similar = (embedding @ embedding.T / 0.2).double().numpy()
    for i in range(20):
        positive = np.flatnonzero(pairs.positive[i])
        others = np.flatnonzero(pairs.candidate[i])
        below = np.log(np.exp(similar[i, others]).sum())
        by_hand.append(-np.mean([similar[i, p] - below for p in positive]))
    found = float(info_nce(embedding, pairs, 0.2))
    assert found == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_at_infinite_temperature_all_candidates_are_alike():
    pairs = pair_up(*crossed(), guard_s=3.0)
    expected = pairs.candidate.sum(dim=1).double().log().mean()
    assert float(info_nce(unit(20), pairs, 1e6)) == pytest.approx(float(expected), rel=1e-4)
    nobody_left_out = Pairs(pairs.positive, ~torch.eye(20, dtype=torch.bool))
    assert float(info_nce(unit(20), nobody_left_out, 1e6)) == pytest.approx(math.log(19), rel=1e-4)


def test_perfect_alignment_costs_the_logarithm_of_the_positives_as_temperature_falls():
    subject, segment, movie, time_s = crossed()
    pairs = pair_up(subject, segment, movie, time_s, guard_s=0.0)
    embedding = F.one_hot(segment, 8).float()
    costs = [float(info_nce(embedding, pairs, t)) for t in (0.5, 0.1, 0.02)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(math.log(3), abs=1e-4)


def test_anchors_without_a_positive_are_left_out():
    subject, segment, movie, time_s = crossed()
    pairs = pair_up(subject, segment, movie, time_s, guard_s=0.0)
    lonely = torch.cat([pairs.positive, torch.zeros(1, 20, dtype=torch.bool)])
    lonely = torch.cat([lonely, torch.zeros(21, 1, dtype=torch.bool)], dim=1)
    candidate = torch.zeros(21, 21, dtype=torch.bool)
    candidate[:20, :20] = pairs.candidate
    embedding = unit(21)
    torch.testing.assert_close(
        info_nce(embedding, Pairs(lonely, candidate), 0.1), info_nce(embedding[:20], pairs, 0.1)
    )
    nobody = Pairs(torch.zeros(20, 20, dtype=torch.bool), pairs.candidate)
    assert float(info_nce(embedding[:20], nobody, 0.1)) == 0


def test_gradients_are_finite_and_the_order_does_not_matter():
    subject, segment, movie, time_s = crossed()
    embedding = unit(20).requires_grad_()
    pairs = pair_up(subject, segment, movie, time_s, guard_s=3.0)
    loss = info_nce(embedding, pairs, 0.02)
    loss.backward()
    assert torch.isfinite(embedding.grad).all()
    order = torch.randperm(20)
    turned = pair_up(subject[order], segment[order], movie[order], time_s[order], guard_s=3.0)
    torch.testing.assert_close(info_nce(embedding[order], turned, 0.02), loss)


def test_a_temperature_may_be_learned_within_bounds():
    fixed, learned = InfoNce(0.1), InfoNce(0.07, learned=True)
    assert not list(fixed.parameters())
    assert len(list(learned.parameters())) == 1
    with torch.no_grad():
        learned.log_temperature.fill_(-20.0)
    assert learned.temperature.item() == pytest.approx(0.02)


def test_correlation_over_moments_is_that_of_numpy():
    subject, segment, _, _ = crossed(n_subjects=4, n_segments=30)
    embedding = torch.randn(120, 3)
    order = torch.randperm(120)
    found = mean_isc(embedding[order], subject[order], segment[order])
    series = embedding.view(30, 4, 3).permute(2, 1, 0).double().numpy()
    assert float(found) == pytest.approx(isc(series).mean(), rel=1e-4)
    with pytest.raises(ValueError, match="119 windows are not each of 30"):
        mean_isc(embedding[1:], subject[1:], segment[1:])


def test_what_does_not_vary_or_repeats_itself_is_penalised():
    torch.manual_seed(0)
    rich = torch.randn(500, 4)
    same = rich[:, :1].expand(-1, 4)
    assert float(spread_penalty(rich)) < 0.1
    assert float(spread_penalty(torch.zeros(500, 4))) > 0.9
    assert float(spread_penalty(same)) > 2


def test_retrieval_finds_what_is_shared_and_guesses_where_nothing_is():
    subject, segment, movie, _ = crossed(n_subjects=6, n_segments=10)
    shared = F.one_hot(segment, 16).float() + 0.1 * torch.randn(60, 16)
    found = retrieval(F.normalize(shared, dim=1), subject, segment, movie)
    assert found["retrieval"] == 1
    assert found["retrieval_chance"] == pytest.approx(0.1)
    by_person = F.one_hot(subject, 16).float() + 0.1 * unit(60, 16)
    guessed = retrieval(F.normalize(by_person, dim=1), subject, segment, movie)
    assert guessed["retrieval"] < 0.3
    assert found["alignment"] < guessed["alignment"]


def test_the_chance_to_find_a_state_is_how_often_it_is_there():
    """Of each of two people three windows of one state, and one of another."""
    subject, movie = torch.arange(8) // 4, torch.zeros(8, dtype=torch.long)
    state = torch.tensor([0, 0, 0, 1] * 2)
    found = retrieval(F.one_hot(state).float(), subject, state, movie)
    assert found["retrieval"] == 1
    assert found["retrieval_chance"] == pytest.approx((3 * 3 / 4 + 1 / 4) / 4)
