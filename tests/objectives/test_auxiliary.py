"""Auxiliary heads: what is missing counts nothing, people are counted once."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import DataError
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import code
from biosig_cli.engine.draws import window_keys
from biosig_cli.engine.optimize import check_gradients
from biosig_cli.models.eeg import EegConfig
from biosig_cli.objectives.auxiliary import AuxiliaryConfig, HeadConfig
from biosig_cli.objectives.base import Pretraining
from tests.montages import montage_spec

NAN = float("nan")
HEADS = {
    "age": HeadConfig(),
    "sex": HeadConfig(kind="classification", weight=0.5),
    "p_factor": HeadConfig(weight=2.0),
}


class Store:
    """Windows of which only the people matter."""

    def __init__(self, subject, **columns):
        self.columns = {"subject": np.array(subject)} | {
            name: np.array(values, np.float32) for name, values in columns.items()
        }

    def __len__(self):
        return len(self.columns["subject"])

    def column(self, name):
        if name not in self.columns:
            raise DataError(name)
        return self.columns[name]


STORE = Store(
    ["a", "a", "a", "b", "c"],
    subject_age=[10, 10, 10, 20, NAN],
    label_sex=[0, 0, 0, 1, 1],
    subject_p_factor=[NAN] * 5,
)


def make():
    torch.manual_seed(0)
    encoder = EegConfig(width=16, n_layers=1).build(montage_spec())
    objective = AuxiliaryConfig(heads=HEADS, dropout=0).build(encoder)
    objective.survey(encoder, [STORE])
    return encoder, objective


def batch_of(age, sex, p_factor, seed=0):
    torch.manual_seed(seed)
    window = torch.arange(len(age))
    labels = {"age": age, "sex": sex, "p_factor": p_factor}
    return Batch(
        torch.randn(len(age), 19, 200),
        window,
        window_keys(0, 0, window),
        labels={name: torch.tensor(values) for name, values in labels.items()},
        codes={"subject": torch.from_numpy(code(np.array([f"s{n}" for n in range(len(age))])))},
    )


def test_numbers_are_standardised_by_people_not_by_windows():
    _, objective = make()
    assert objective.get_buffer("known_age").tolist() == [15.0, 5.0]
    torch.testing.assert_close(objective.get_buffer("known_sex"), torch.tensor([1 / 3, 2 / 3]))
    assert torch.isnan(objective.get_buffer("known_p_factor")).all()
    assert "known_age" in objective.state_dict()


def test_a_missing_label_counts_nothing():
    encoder, objective = make()
    known = batch_of([10.0, 20.0], [0.0, NAN], [NAN, NAN])
    total = objective(encoder, known).total
    more = batch_of([10.0, 20.0, NAN], [0.0, NAN, NAN], [NAN] * 3)
    more = Batch(
        torch.cat([known.signal, more.signal[2:]]),
        more.window,
        more.key,
        more.labels,
        None,
        more.codes,
    )
    torch.testing.assert_close(objective(encoder, more).total, total)
    total.backward()
    gradients = [p.grad for p in [*encoder.parameters(), *objective.parameters()]]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)


def test_the_total_is_the_mean_over_heads_that_anybody_answers():
    encoder, objective = make()
    batch = batch_of([10.0, 20.0], [0.0, 1.0], [NAN, NAN])
    pooled = encoder(batch.signal).tokens.mean(dim=(1, 2))
    age = objective.heads["age"](pooled)[:, 0]
    by_age = (age - torch.tensor([-1.0, 1.0])).square().mean()
    logits = objective.heads["sex"](pooled)
    by_sex = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    expected = (1.0 * by_age + 0.5 * by_sex) / 1.5
    torch.testing.assert_close(objective(encoder, batch).total, expected)


def test_a_batch_without_any_label_leaves_the_heads_alone():
    encoder, objective = make()
    trainable = Pretraining(encoder, {"auxiliary": objective})
    nothing = batch_of([NAN, NAN], [NAN, NAN], [NAN, NAN])
    losses = trainable(nothing)
    assert losses.total.item() == 0
    assert not losses.total.requires_grad
    # As the loop asks: the head that nobody answers has no gradient, and is excused.
    trainable(batch_of([10.0, 20.0], [0.0, 1.0], [NAN, NAN])).total.backward()
    assert objective.heads["p_factor"][1].weight.grad is None
    check_gradients(objective, objective.resting())


def test_figures_are_of_people():
    _, objective = make()
    outputs = {
        "aux_subject": torch.tensor([1, 1, 2, 3]),
        "aux_age": torch.tensor([[0.0], [2.0], [0.0], [9.0]]),
        "aux_age_wanted": torch.tensor([1.0, 1.0, -1.0, NAN]),
        "aux_sex": torch.tensor([[2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        "aux_sex_wanted": torch.tensor([0.0, 0.0, 1.0, 1.0]),
        "aux_p_factor": torch.zeros(4, 1),
        "aux_p_factor_wanted": torch.full((4,), NAN),
    }
    figures = objective.score(outputs)
    # Person 1 says (0 + 2) / 2 = 1, wanted 1; person 2 says 0, wanted -1; in years, times 5.
    assert figures["age_mae"] == pytest.approx(5 * (0 + 1) / 2)
    # Person 1 is right, of the two others one is.
    assert figures["sex_balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert "p_factor_mae" not in figures


def test_the_average_person_stands_beside_it():
    encoder, objective = make()
    objective.eval()
    batch = batch_of([10.0, 20.0], [0.0, 1.0], [NAN, NAN])
    parts = objective(encoder, batch).parts
    by_sex = -(np.log(1 / 3) + np.log(2 / 3)) / 2
    assert float(parts["auxiliary_mean"]) == pytest.approx((1.0 + 0.5 * by_sex) / 1.5, rel=1e-4)
