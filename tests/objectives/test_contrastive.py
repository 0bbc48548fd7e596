"""Contrast between people learns what they share, and nothing where they share nothing."""

import numpy as np
import pytest
import torch

from biosig_cli.data.batch import Batch
from biosig_cli.data.groups import GroupsConfig
from biosig_cli.data.loader import code
from biosig_cli.engine.draws import window_keys
from biosig_cli.models.eeg import EegConfig
from biosig_cli.objectives.contrastive import ContrastiveConfig, MovieIscConfig
from tests.montages import montage_spec

N_SUBJECTS, N_MOMENTS = 6, 8


def batch_of(*, shared: float, seed: int = 0) -> Batch:
    """Return windows of everybody at every moment: what the movie does, what they are, noise."""
    draw = np.random.default_rng(seed)
    pattern = np.random.default_rng(99).normal(size=(N_MOMENTS, 1, 19, 200))
    person = draw.normal(size=(1, N_SUBJECTS, 19, 1))
    noise = draw.normal(size=(N_MOMENTS, N_SUBJECTS, 19, 200))
    signal = (shared * pattern + person + noise).reshape(-1, 19, 200)
    window = torch.arange(len(signal))
    moment = np.repeat(np.arange(N_MOMENTS), N_SUBJECTS)
    codes = {
        "subject": np.tile(np.arange(N_SUBJECTS), N_MOMENTS) + 100 * seed,
        "segment": moment,
        "movie": np.zeros(len(signal)),
    }
    return Batch(
        torch.from_numpy(signal).float(),
        window,
        window_keys(0, 0, window),
        labels={"movie_s": torch.from_numpy(moment * 2.0).float()},
        codes={name: torch.from_numpy(code(values)) for name, values in codes.items()},
        spec=montage_spec(),
    )


def train(config, shared, n_steps=40):
    torch.manual_seed(0)
    encoder = EegConfig(width=32, n_layers=1).build(montage_spec())
    objective = config.build(encoder)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=2e-3)
    for step in range(n_steps):
        optimizer.zero_grad()
        objective(encoder, batch_of(shared=shared, seed=step % 4)).total.backward()
        optimizer.step()
    encoder.eval()
    return encoder, objective.eval()


@pytest.mark.parametrize(("shared", "lowest", "highest"), [(1.0, 0.6, 1.0), (0.0, 0.0, 0.35)])
def test_moments_are_found_in_new_people_where_they_share_something(shared, lowest, highest):
    encoder, objective = train(ContrastiveConfig(guard_s=0), shared)
    with torch.no_grad():
        losses = objective(encoder, batch_of(shared=shared, seed=7))
    figures = objective.score(losses.outputs)
    assert lowest <= figures["retrieval"] <= highest, figures
    assert figures["retrieval_chance"] == pytest.approx(1 / N_MOMENTS)
    even = float(losses.parts["contrastive_even"])
    assert even == pytest.approx(np.log(N_MOMENTS * N_SUBJECTS - 1), rel=1e-4)
    assert (float(losses.parts["contrastive"]) < 0.7 * even) == (shared > 0)


def test_features_take_a_common_course_without_collapsing():
    encoder, objective = train(MovieIscConfig(width=4), 1.0)
    with torch.no_grad():
        parts = objective(encoder, batch_of(shared=1.0, seed=7)).parts
    assert float(parts["movie_isc"]) < 0.5
    assert float(parts["spread"]) < 1.5
    assert float(parts["movie_isc_none"]) == 1


def test_moments_that_nobody_was_trained_on_are_looked_for_among_themselves():
    groups = GroupsConfig(held_out_s=94)  # of 0, 2, ..., 14 s, what comes from 6 s on
    objective = ContrastiveConfig(groups=groups).build(EegConfig(width=8).build(montage_spec()))
    batch = batch_of(shared=0.0)
    time_s = batch.labels["movie_s"]
    # New moments are told apart; what was trained on is all alike.
    unit = torch.eye(N_MOMENTS)[(time_s // 2).long()]
    unit[time_s < 6] = torch.eye(N_MOMENTS)[0]
    outputs = {f"con_{name}": batch.codes[name] for name in ("subject", "segment", "movie")}
    figures = objective.score(outputs | {"con_embedding": unit, "con_time_s": time_s})
    assert figures["retrieval_new"] == 1
    assert figures["retrieval_new_chance"] == pytest.approx(1 / 5)
    assert figures["retrieval"] == pytest.approx(6 / 8)
    assert figures["retrieval_chance"] == pytest.approx(1 / 8)
    assert {name for name in objective.config.also if "state" not in name} == set(figures)


def test_states_are_looked_for_among_themselves_beside_chance():
    groups = GroupsConfig(states=("rest", "task"))
    objective = ContrastiveConfig(groups=groups).build(EegConfig(width=8).build(montage_spec()))
    batch = batch_of(shared=0.0)
    is_state = torch.arange(len(batch)) < len(batch) // 2
    time_s = batch.labels["movie_s"].masked_fill(is_state, torch.nan)
    state = batch.codes["segment"] % 2
    segment = torch.where(is_state, state, batch.codes["segment"])
    movie = torch.where(is_state, 0, 1)
    # States are told apart, moments are not.
    unit = torch.where(is_state[:, None], torch.eye(2)[state % 2], torch.eye(2)[0])
    outputs = {
        "con_subject": batch.codes["subject"],
        "con_segment": segment,
        "con_movie": movie,
        "con_embedding": unit,
        "con_time_s": time_s,
    }
    figures = objective.score(outputs)
    assert figures["retrieval_state"] == 1
    assert figures["retrieval_state_chance"] == pytest.approx(1 / 2)
    assert figures["retrieval"] == pytest.approx(1 / 4)
    assert figures["retrieval_chance"] == pytest.approx(1 / 4)
    without = {name: values[is_state] for name, values in outputs.items()}
    assert set(objective.score(without)) == set(objective.config.also) - {
        *("retrieval", "retrieval_chance", "retrieval_new", "retrieval_new_chance")
    }
