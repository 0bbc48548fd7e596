"""Who the people behind windows are, as far as their recordings say: how old, of which sex."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from biosig_cli.data.store import WindowStore
from biosig_cli.report.cards import UNKNOWN

AGES = "age: median (lowest to highest), known of"
"""Head of a column of `ages_in_words`."""


def people_of(store: WindowStore) -> dict[str, Any]:
    """Return how many people there are, and of those whose age or sex is known what it is."""
    facts: dict[str, Any] = {"n": len(store.subjects)}
    ages = _by_person(store, "age")
    if ages:
        low, middle, high = np.quantile(ages, (0, 0.5, 1)).tolist()
        facts["age"] = {"n": len(ages), "median": middle, "low": low, "high": high}
    stated = (store.manifest.get("attributes") or {}).get("sex", {}).get("values") or {}
    words = {number: word for word, number in stated.items()}
    sexes = Counter(words.get(value, f"{value:g}") for value in _by_person(store, "sex"))
    return facts | ({"sex": dict(sorted(sexes.items()))} if sexes else {})


def ages_in_words(people: Mapping[str, Any]) -> str:
    """Return median and range of the known ages, and of how many they are."""
    age = people.get("age")
    if not age:
        return UNKNOWN
    return f"{age['median']:.0f} ({age['low']:.0f} to {age['high']:.0f}), {age['n']}"


def sexes_in_words(people: Mapping[str, Any]) -> str:
    """Return how many people are of each sex, and of how many it is not known."""
    sexes = people.get("sex")
    if not sexes:
        return UNKNOWN
    n_unknown = people["n"] - sum(sexes.values())
    counts = sexes | ({"not known": n_unknown} if n_unknown > 0 else {})
    return ", ".join(f"{n} {word}" for word, n in counts.items())


def _by_person(store: WindowStore, attribute: str) -> list[float]:
    """Return an attribute of each person of whom it is known."""
    if attribute not in store.attributes:
        return []
    values = store.column(f"subject_{attribute}").astype(np.float64)
    known = np.isfinite(values)
    subjects = store.column("subject")[known].tolist()
    return list(dict(zip(subjects, values[known].tolist(), strict=True)).values())
