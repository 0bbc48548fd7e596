"""Cards: Markdown that says what a model or a store is. What nobody recorded says so."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_cli.core.artifacts import atomic_path

UNKNOWN = "not recorded"


def text(value: object) -> str:
    """Return a value as Markdown shows it as it stands: no markup and no HTML comes of it."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return text(", ".join(f"{key}: {each}" for key, each in value.items()))
    if isinstance(value, list | tuple):
        return text(", ".join(map(str, value)))
    said = " ".join(str(value).split())
    said = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", said)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table; a sentence where it has no row."""
    lines = [f"| {' | '.join(map(text, row))} |" for row in rows]
    if not lines:
        return [UNKNOWN, ""]
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*head, *lines, ""]


def facts(rows: Iterable[tuple[str, object]]) -> list[str]:
    """Return the lines of a list of names and values."""
    return [*(f"- **{name}**: {text(value)}" for name, value in rows), ""]


def bullets(sentences: Iterable[object]) -> list[str]:
    """Return the lines of a list of sentences."""
    return [*(f"- {text(each)}" for each in sentences), ""]


def figure(found: Mapping[str, Any] | None) -> str:
    """Return a figure with its interval, as a card shows it."""
    if found is None:
        return ""
    if found.get("value") is None:
        return f"not defined ({found.get('why') or 'no reason recorded'})"
    if found.get("low") is None:
        return f"{found['value']:.3f} (no interval: {found.get('why') or UNKNOWN})"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def write_card(path: Path, lines: Iterable[str]) -> Path:
    """Write a card, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path
