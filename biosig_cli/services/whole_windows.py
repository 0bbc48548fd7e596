"""Windows that nobody has split yet: a store, a file of windows, or a tree of recordings."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from biosig_cli.catalog import open_source
from biosig_cli.core.config import SHARED, find_config, load_config, read_file
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.readers.base import Source
from biosig_cli.data.readers.but_ppg import ButPpg
from biosig_cli.data.splits import Splits
from biosig_cli.data.store import (
    HOW_TO_MAKE,
    MANIFEST,
    SPLITS,
    WindowStore,
    open_npz,
    open_split,
    open_store,
)
from biosig_cli.data.window_table import open_window_table
from biosig_cli.services.build_windows import BuildWindowsConfig, build_stores, report_stores

TABLES = (".csv", ".tsv", ".txt", ".parquet")
BUT_PPG_RECIPE = "but_ppg"
ASKED = "asked"
"""The channel set of the channels that were asked for."""
WHOLE = "all"
"""The split of a store that holds every subject's windows."""


def open_whole(
    path: Path,
    *,
    channels: Sequence[str] | None,
    sampling_hz: float | None,
    recipe: str | None,
    work_dir: Path,
    reporter: Reporter,
) -> WindowStore:
    """Open the windows of everyone in `path`; a tree of recordings is cut into windows first.

    Args:
        path: A folder that holds one store, a `.npz` file, a table of windows, or a tree.
        channels: Names of the channels to read, in the order asked for; all when None.
        sampling_hz: The rate, in Hz, of a file that does not say.
        recipe: How a tree becomes windows; the shipped one for a BUT PPG tree when None.
        work_dir: Where the windows of a tree go, in `windows`.
        reporter: Who says what happens.

    Raises:
        DataError: If there are no windows, or they can't be used.
        ConfigError: If a tree needs a recipe, or the recipe makes no sense.
    """
    if path.is_file():
        return _open_file(path, channels, sampling_hz, reporter)
    if (path / MANIFEST).is_file():
        return open_store(path, channels=channels)
    if not path.is_dir() or _is_unfinished(path):
        return open_split(path, SPLITS[0])  # which is not there: it says how windows are made
    config = _recipe_for(path, recipe, reporter)
    names: Sequence[str] = config.recipe.spec.names
    if channels is not None:
        config.recipe.spec.positions(channels)  # before the work, which may be long
        names = channels
    # No others: a recording that lacks one of them is of use all the same.
    asked = tuple(name for name in config.channels if name in names)
    config = config.model_copy(update={"sets": {ASKED: asked}, "channel_set": ASKED})
    return open_store(_build(path, config, work_dir, reporter), channels=channels)


def describes_recordings(file: str | None) -> bool:
    """Return whether a config file, or a shipped config, says how recordings become windows.

    Raises:
        ConfigError: If there is no such file, or it can't be read.
    """
    # `channels` alone may be the names of a model's channels.
    return file is not None and not {*SHARED, "build_windows"}.isdisjoint(
        read_file(find_config(file)).keys() - {"channels"}
    )


def _open_file(
    path: Path,
    channels: Sequence[str] | None,
    sampling_hz: float | None,
    reporter: Reporter,
) -> WindowStore:
    if path.suffix == ".npz":
        return open_npz(path, channels=channels, sampling_hz=sampling_hz)
    if path.suffix not in TABLES:
        raise DataError(
            f"{path} is no file of windows: expected .npz, or a table that ends in "
            f"{', '.join(TABLES)}",
            hint="a table has a window in each row, and columns such as subject, PPG_0, PPG_1, ...",
        )
    store = open_window_table(path, channels=channels, sampling_hz=sampling_hz)
    if store.manifest["ignored"]:
        reporter.say(f"{path.name}: no label or number: {', '.join(store.manifest['ignored'])}")
    return store


def _is_unfinished(folder: Path) -> bool:
    """Return whether the folder holds what `build-windows` leaves when it is stopped."""
    return any(True for split in SPLITS for _ in (folder / split).glob("parts-*"))


def _recipe_for(tree: Path, recipe: str | None, reporter: Reporter) -> BuildWindowsConfig:
    if recipe is None:
        source = _open_tree(tree, None)
        if not isinstance(source, ButPpg):
            raise ConfigError(
                f"{tree} holds recordings ({source.kind}), and nothing says how they become "
                "windows and which labels they have",
                hint="give a recipe with dataset, channels and windows: --config FILE|NAME "
                "(shipped: demo, bidmc, ppg_long), or make windows by prepare-splits and "
                "build-windows",
            )
        recipe = BUT_PPG_RECIPE
        reporter.fact("recipe", recipe, "the shipped one for a BUT PPG tree")
    return load_config(BuildWindowsConfig, file=recipe, flags={"source": str(tree)})


def _build(tree: Path, config: BuildWindowsConfig, work_dir: Path, reporter: Reporter) -> Path:
    """Return the folder of a store of all recordings in a tree; what is done already stays."""
    source = _open_tree(tree, config.dataset)
    folder = work_dir / "windows" / f"{tree.resolve().name}-{_digest(tree, config)}"
    config = config.model_copy(update={"outdir": folder})
    is_new = not (folder / MANIFEST).is_file()
    everyone = Splits({WHOLE: source.ids()}, source.subjects())
    result = build_stores(config, everyone, {WHOLE: folder}, reporter)
    if is_new or not result.n_windows:
        report_stores(result, config, reporter)
    return folder


def _open_tree(tree: Path, dataset: DatasetConfig | None) -> Source:
    try:
        return open_source(str(tree), dataset)
    except DataError as error:
        raise DataError(
            f"{tree} holds no windows ({', '.join(SPLITS)}, or one store), and no recordings "
            f"either: {error}",
            hint=HOW_TO_MAKE.format(folder=tree),
        ) from None


def _digest(tree: Path, config: BuildWindowsConfig) -> str:
    """Return what tells windows of other recordings, or cut in another way, apart."""
    parts = {*SHARED, "channel_set", "hash_subjects", "label_channels_allowed"}
    content = [str(tree.resolve()), config.model_dump(mode="json", include=parts)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
