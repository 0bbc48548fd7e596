"""What is said of the denoised twins of windows: how they were made, and what they are worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from biosig_cli.core.progress import Reporter
from biosig_cli.data.readers.base import Source
from biosig_cli.data.store import WindowStore
from biosig_cli.data.windows import WindowRecipe

BEFORE, AFTER = "snr_db", "target_snr_db"
"""What the columns of the index are called, before the channel's name."""


def target_facts(recipe: WindowRecipe, source: Source) -> dict[str, Any]:
    """Return what a manifest says of how the twins were made; nothing where there are none.

    Raises:
        ConfigError: If the recipe names no channel to denoise that its windows have.
    """
    if not recipe.denoise or recipe.windows.denoise is None:
        return {}
    facts = {"kind": "denoised", "channels": list(recipe.denoise)}
    if source.has_targets:
        return facts | {"origin": "the source's own"}
    how = recipe.windows.denoise.dump()
    del how["channels"]
    return facts | {"origin": "computed", **how}


def say_target(facts: Mapping[str, Any], reporter: Reporter) -> None:
    """Say which channels get a twin, and where it comes from."""
    if not facts:
        return
    how = "the source brings its own, which are taken instead of computed ones"
    if facts["origin"] == "computed":
        how = "{wavelet}, {level} levels, {mode}, {threshold} threshold".format_map(facts)
    reporter.fact("target", f"denoised {', '.join(facts['channels'])}", how)


def target_quality(store: WindowStore) -> dict[str, Any]:
    """Return how far the signal stands above the noise before and after, in dB, by channel.

    Each figure is the median over windows with the 10th and 90th percentile. Noise is white noise
    in the channel's band, as the finest details show it; movement is not seen.
    """
    found: dict[str, Any] = {}
    for name in store.manifest["target"]["channels"]:
        columns = [BEFORE, AFTER] if store.manifest["target"]["origin"] == "computed" else [BEFORE]
        found[name] = {
            what: dict(
                zip(
                    ("median", "p10", "p90"),
                    np.quantile(store.column(f"{what}_{name}"), (0.5, 0.1, 0.9)).round(2).tolist(),
                    strict=True,
                )
            )
            for what in columns
        }
    return found


def report_targets(manifests: Mapping[str, Mapping[str, Any]], reporter: Reporter) -> None:
    """Print the ratio of signal to noise of each split, before and after denoising."""
    rows = [
        (split, name, _said(figures[BEFORE]), _said(figures.get(AFTER)))
        for split, manifest in manifests.items()
        for name, figures in manifest.get("target_quality", {}).items()
    ]
    if rows:
        columns = ("split", "channel", "before", "after")
        reporter.table("signal to white noise in dB: median (10-90 %)", columns, rows)


def _said(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "not known"
    return f"{figure['median']:.1f} ({figure['p10']:.1f} to {figure['p90']:.1f})"
