"""One self-contained page: text, tables and pictures in a single file that asks for nothing.

A page opens without a network, prints, and can be sent by mail. The frame forbids the browser to
load anything, so that a slip in a template shows as a gap instead of a request.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from biosig_cli.core.artifacts import atomic_path

PNG_DPI = 160
MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """A figure inside a page."""

    source: str
    """The whole image, as a `data:` address."""
    alt: str
    """What it shows, for those who can't see it."""
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("a picture needs an alt text")


def picture(
    figure: Figure, *, alt: str, caption: str = "", form: Literal["svg", "png"] = "svg"
) -> Picture:
    """Return a figure as a picture for a page; `png` where it has thousands of points."""
    file = io.BytesIO()
    # The same figure gives the same bytes: ids inside come from the salt, and no date is written.
    with mpl.rc_context({"svg.hashsalt": "biosig", "svg.fonttype": "path"}):
        metadata = {"Date": None} if form == "svg" else None
        figure.savefig(file, format=form, dpi=PNG_DPI, metadata=metadata)
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(f"data:{MEDIA[form]};base64,{encoded}", alt, caption)


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page from a template of this package, whole or not at all.

    Args:
        path: The HTML file.
        template: Name of the template, which extends `page.html`.
        **content: What it shows; every name that the template uses must be given.
    """
    text = _environment().get_template(template).render(**content)
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("biosig_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {"percent": percent, "count": count}
    environment.filters.update(filters)
    return environment


def percent(part: float) -> str:
    """Return a part as people read it: `98.4 %`; never `100 %` or `0 %` of something less."""
    if part != part:
        return "-"
    shown = f"{100 * part:.1f}"
    if (shown == "100.0" and part < 1) or (shown == "0.0" and part > 0):
        shown = "> 99.9" if part > 0.5 else "< 0.1"
    return f"{shown} %"


def count(number: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{int(number):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
