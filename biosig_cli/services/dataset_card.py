"""`DATASET_CARD.md`: what the manifests of a folder of stores say, and nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.data.store import WindowStore, open_store
from biosig_cli.report.cards import UNKNOWN, bullets, facts, table, write_card
from biosig_cli.services.export_model import steps
from biosig_cli.services.people import AGES, ages_in_words, people_of, sexes_in_words

DATASET_CARD = "DATASET_CARD.md"


def write_dataset_card(folder: Path, stores: Mapping[str, Path]) -> Path:
    """Write the card of the stores in a folder.

    Args:
        folder: Where the card goes.
        stores: By split, the folder of its store, which is complete.
    """
    opened = {split: open_store(path) for split, path in stores.items()}
    manifests = {split: store.manifest for split, store in opened.items()}
    first = next(iter(manifests.values()))
    lines = [
        *what_it_is(first),
        *source(manifests),
        *windows(first),
        *yields(manifests),
        *people(opened),
        *labels(manifests),
        *limits(manifests),
    ]
    return write_card(folder / DATASET_CARD, lines)


def what_it_is(manifest: Mapping[str, Any]) -> list[str]:
    """Return the title and what a window is."""
    spec = manifest["spec"]
    rows = [
        ("Window", f"{spec['n_samples']} samples at {spec['sampling_hz']:g} Hz"),
        ("Made with", f"biosig {manifest.get('biosig_version') or UNKNOWN}"),
        ("Made at", manifest.get("made_at")),
        ("Recipe", manifest.get("recipe_digest")),
    ]
    channels = [(each["name"], each["kind"], each.get("unit")) for each in spec["channels"]]
    title = "# Windows of physiological recordings"
    return [title, "", *facts(rows), *table(("channel", "kind", "unit"), channels)]


def source(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which recordings they are of; their licence is that of the windows, too."""
    stated = {
        (each.get("kind") or UNKNOWN, each.get("licence") or UNKNOWN): None
        for each in (m.get("source") or {} for m in manifests.values())
    }
    rows = [(kind, licence) for kind, licence in stated]
    said = "The windows inherit the licence of the recordings that they were cut from."
    hidden = any(each.get("hash_subjects") for each in manifests.values())
    ids = "pseudonyms (a keyed hash)" if hidden else "as the source has them"
    lines = table(("recordings", "licence"), rows)
    return ["## Source and licence", "", *lines, said, "", *facts([("Ids of people", ids)])]


def windows(manifest: Mapping[str, Any]) -> list[str]:
    """Return what a recording went through, and by which rules a window was judged."""
    stated = manifest.get("recipe")
    if stated is None:
        return ["## How they were made", "", UNKNOWN, ""]
    recipe = WindowRecipe.parse(stated)
    asked = list(dict.fromkeys(rule.name for rule in recipe.rules))
    rows = [
        ("What every window is asked", asked),
        ("Of these, what drops one", recipe.windows.gate),
    ]
    return ["## How they were made", "", *bullets(steps(recipe)), *facts(rows)]


def yields(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what came of the recordings: kept, dropped and skipped, with the reasons."""
    rows = [
        (
            split,
            each.get("n_cases"),
            len(each.get("skipped") or ()),
            each.get("cut"),
            each.get("kept"),
            f"{100 * each['kept'] / each['cut']:.1f} %" if each.get("cut") else UNKNOWN,
            each.get("hours"),
        )
        for split, each in manifests.items()
    ]
    columns = ("split", "recordings", "skipped", "windows cut", "kept", "share", "hours")
    lines = ["## Yield", "", *table(columns, rows)]
    dropped = {split: each.get("dropped") or {} for split, each in manifests.items()}
    reasons = sorted({reason for each in dropped.values() for reason in each})
    counted = [(reason, *(each.get(reason, 0) for each in dropped.values())) for reason in reasons]
    skipped = Counter(
        why for each in manifests.values() for why in (each.get("skipped") or {}).values()
    )
    if counted:
        lines += ["Windows dropped:", "", *table(("reason", *dropped), counted)]
    if skipped:
        lines += ["Recordings skipped:", "", *table(("reason", "n"), skipped.most_common())]
    return lines


def people(stores: Mapping[str, WindowStore]) -> list[str]:
    """Return whose windows they are: how many, how old, of which sex, as far as is known."""
    known = {split: people_of(store) for split, store in stores.items()}
    rows = [(split, k["n"], ages_in_words(k), sexes_in_words(k)) for split, k in known.items()]
    columns = ("split", "people", AGES, "sex")
    return ["## People", "", *table(columns, rows)]


def labels(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which labels there are, and of how many windows they are known."""
    rows = [
        (split, name, each.get("unit"), each.get("known"), each.get("derived_from") or "none")
        for split, manifest in manifests.items()
        for name, each in (manifest.get("labels") or {}).items()
    ]
    if not rows:
        return ["## Labels", "", "none", ""]
    columns = ("split", "label", "unit", "windows known", "derived from channels")
    return ["## Labels", "", *table(columns, rows)]


def limits(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what the records say against the windows."""
    return ["## Limits", "", *bullets(_limits(manifests))]


def _limits(manifests: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    licences = [(each.get("source") or {}).get("licence") for each in manifests.values()]
    if any(not each or "not stated" in each for each in licences):
        yield "The source states no licence: find it out before you pass the windows on."
    for split, each in manifests.items():
        n_people = len(each.get("subjects") or ())
        if n_people < 5:
            who = "1 person" if n_people == 1 else f"{n_people} people"
            yield f"{split} has {who}: a figure on it says little of others."
    if any(each.get("label_channels_allowed") for each in manifests.values()):
        yield "Labels may have been made from channels that are among the inputs (see above)."
    if any(each.get("dropped") for each in manifests.values()):
        yield "Rules of quality drop poor windows: what is kept is better than what was recorded."
