"""What every answer scores on the windows of an evaluation, whole and by group of people."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.services.evaluate_answers import Comparison
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.curves import confusion, curves
from biosig_cli.tasks.examples import Examples

AGES = (0, 18, 40, 65, 200)
"""Edges of the age bands, in years."""


def score(compared: Comparison, answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return every answer with its figures, as `test_metrics.json` holds them."""
    examples, first = compared.data.parts["test"], answers[0]
    scored = []
    for answer in answers:
        is_binary = compared.n_classes == 2
        target = examples.target
        scored.append(
            {
                "name": answer.name,
                "kind": answer.kind,
                "about": answer.about,
                "threshold": answer.threshold,
                "levels": compared.levels(examples, answer),
                "difference": None
                if answer is first
                else compared.difference(examples, first, answer).plain(),
                "groups": groups(compared, examples, answer) if answer.kind == "model" else {},
                "confusion": confusion(target, answer.score, answer.threshold)
                if compared.n_classes
                else None,
                "curves": curves(target, answer.score) if is_binary else {},
            }
        )
    return scored


def groups(compared: Comparison, examples: Examples, answer: Answer) -> dict[str, list[Any]]:
    """Return the primary figure by sex, age band and subject, where they are known."""
    found = {}
    for name, members in group_masks(compared, examples).items():
        found[name] = [
            {
                "group": group,
                "n_windows": int(mask.sum()),
                "n_subjects": examples.take(mask).n_subjects,
                "figure": compared.figures(examples.take(mask), answer.take(mask))[
                    compared.metric
                ].plain(),
            }
            for group, mask in members.items()
        ]
    return found


def group_masks(
    compared: Comparison, examples: Examples
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return which windows are of each sex, age band and subject."""
    masks: dict[str, dict[str, NDArray[np.bool_]]] = {}
    facts = compared.data.stores["test"].manifest.get("attributes", {})
    sex = examples.attributes.get("sex")
    if sex is not None and np.isfinite(sex).any():
        words = {
            number: word for word, number in (facts.get("sex", {}).get("values") or {}).items()
        }
        values = np.unique(sex[np.isfinite(sex)]).tolist()
        masks["sex"] = {words.get(value, f"{value:g}"): sex == value for value in values}
    age = examples.attributes.get("age")
    if age is not None and np.isfinite(age).any():
        bands = {
            f"{low} to {high - 1}" if high < AGES[-1] else f"{low} and older": (age >= low)
            & (age < high)
            for low, high in pairwise(AGES)
        }
        masks["age"] = {band: mask for band, mask in bands.items() if mask.any()}
    people = np.unique(examples.subject[examples.subject != ""]).tolist()
    if len(people) > 1:
        masks["subject"] = {who: examples.subject == who for who in people}
    return masks
