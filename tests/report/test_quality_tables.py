from dataclasses import dataclass

import numpy as np
import pytest

from biosig_cli.report.quality_examples import examples
from biosig_cli.report.quality_tables import Judged, by_group, by_label, by_rule, sweep


@dataclass
class Rule:
    name: str
    figure: str
    limit: float = 0.0
    breaks: str = "above"

    @property
    def column(self):
        return f"broken_{self.name}"


RULES = (Rule("missing", ""), Rule("flat", "flat", 0.25), Rule("poor", "score", 0.5, "below"))


def make(flat, score, *, lacks=None, gate="all", **columns):
    n_windows = len(flat)
    flat, score = np.array(flat, float), np.array(score, float)
    lacks = np.zeros(n_windows, bool) if lacks is None else np.array(lacks, bool)
    broken = {"missing": lacks, "flat": flat > 0.25, "poor": score < 0.5}
    reason = np.full(n_windows, "", object)
    for name, verdict in broken.items():
        if gate == "all" or name == "missing":
            reason[verdict & (reason == "")] = name
    table = {
        "record": np.array([f"r{row % 3}" for row in range(n_windows)], object),
        "subject": np.array([f"s{row % 2}" for row in range(n_windows)], object),
        "flat": flat,
        "score": score,
        **{f"broken_{name}": verdict for name, verdict in broken.items()},
        **{name: np.array(values) for name, values in columns.items()},
    }
    return Judged(table, reason == "", reason, RULES)


def test_a_rule_counts_what_it_breaks_drops_and_takes_alone():
    judged = make([0.3, 0.3, 0.0, 0.0], [0.4, 0.9, 0.4, 0.9])
    rows = {row.name: (row.n_broken, row.n_first, row.n_only) for row in by_rule(judged)}
    assert rows == {"missing": (0, 0, 0), "flat": (2, 2, 1), "poor": (2, 1, 1)}
    assert sum(row.n_first for row in by_rule(judged)) == (~judged.kept).sum()


def test_a_gate_that_only_records_counts_the_same_and_drops_nothing():
    judged = make([0.3, 0.0, 0.0], [0.9, 0.4, 0.9], lacks=[0, 0, 1], gate="missing")
    assert judged.kept.tolist() == [True, True, False]
    assert judged.passing.tolist() == [False, False, False]
    assert judged.first.tolist() == ["flat", "poor", "missing"]
    assert [row.n_broken for row in by_rule(judged)] == [1, 1, 1]


def test_each_subject_has_its_yield_and_the_rule_that_takes_most():
    judged = make([0.3, 0.0, 0.3, 0.0], [0.4, 0.9, 0.9, 0.9])
    first, second = by_group(judged, judged.columns["subject"])
    assert (first.name, first.n_cut, first.n_kept, first.worst) == ("s0", 2, 0, "flat")
    assert (second.name, second.kept, second.worst) == ("s1", 1.0, "")


def test_a_planted_bad_class_shows_and_missing_labels_are_their_own_row():
    score = [0.9] * 40 + [0.1] * 30 + [0.9] * 15
    label = [1.0] * 40 + [0.0] * 40 + [np.nan] * 5
    judged = make([0.0] * 85, score, label_quality=label)
    rows = {row.name: (row.n_cut, row.kept) for row in by_label(judged)["quality"]}
    assert rows == {"0": (40, 0.25), "1": (40, 1.0), "missing": (5, 1.0)}


def test_a_label_with_many_values_is_shown_in_quarters_and_words_stay_words():
    rates = np.linspace(50, 90, 40)
    sex = np.array(["F", None] * 20, object)
    judged = make([0.0] * 40, [0.9] * 40, label_hr=rates, subject_sex=sex)
    labels = by_label(judged)
    assert [row.n_cut for row in labels["hr"]] == [10, 10, 10, 10]
    assert labels["hr"][0].name.startswith("50 to ")
    assert [row.name for row in labels["sex"]] == ["F", "missing"]


def test_no_labels_give_no_table():
    assert by_label(make([0.0], [0.9])) == {}


def test_a_sweep_gives_the_yield_at_every_limit_alone_and_together():
    judged = make([0.0, 0.0, 0.3, 0.0], [0.2, 0.6, 0.8, np.nan])
    swept = sweep(judged, RULES[2], np.array([0.0, 0.5, 0.7, 1.0]))
    # What is not known breaks no rule.
    np.testing.assert_allclose(swept.alone, [1.0, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(swept.together, [0.75, 0.5, 0.25, 0.25])
    flat = sweep(judged, RULES[1], np.array([0.25, 0.3]))
    np.testing.assert_allclose(flat.alone, [0.75, 1.0])


def test_the_yield_of_a_sweep_at_the_limit_in_use_is_that_of_the_gate():
    rng = np.random.default_rng(0)
    judged = make(rng.uniform(0, 0.4, 200), rng.uniform(0, 1, 200))
    for rule in RULES[1:]:
        swept = sweep(judged, rule, np.array([rule.limit]))
        assert swept.together[0] == pytest.approx(judged.kept.mean())


def test_examples_are_the_best_the_worst_the_nearest_and_some_of_each_rule():
    rng = np.random.default_rng(1)
    judged = make(rng.uniform(0, 0.4, 300), rng.uniform(0, 1, 300), lacks=np.arange(300) == 7)
    chosen = {}
    for example in examples(judged):
        chosen.setdefault(example.group, []).append(example.row)
    rows = [row for group in chosen.values() for row in group]
    assert len(rows) == len(set(rows))
    margin = judged.margin
    assert judged.passing[chosen["best"]].all()
    assert judged.passing[chosen["worst"]].all()
    assert margin[chosen["best"]].min() > margin[chosen["worst"]].max() >= 0
    assert not judged.passing[chosen["borderline"]].any()
    assert (margin[chosen["borderline"]] > -0.1).all()
    assert {judged.first[row] for row in chosen["broken"]} == {"missing", "flat", "poor"}
    assert len(set(judged.columns["record"][chosen["worst"]])) == 3


def test_few_windows_or_none_give_few_examples_or_none():
    assert examples(make([], [])) == []
    assert [example.row for example in examples(make([0.0], [0.9]))] == [0]
