"""How a model's windows were made, as its checkpoint carries it to recordings of other people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_cli.core.errors import CheckpointError
from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.data.store import WindowStore

NO_RECIPE = (
    "train again on windows that `biosig build-windows` made, or give windows instead of "
    "recordings: the folder of a store, or a .npz file"
)


def recipe_of(stores: Sequence[WindowStore]) -> dict[str, Any] | None:
    """Return how the windows of `stores` were made; None where one does not say, or they differ.

    Only the channels that are used are in it, in their order, so that a recording needs no others.
    The denoised twin of a window is left out: no encoder is given it.
    """
    found = [_used(store) for store in stores]
    first = found[0]
    return first if all(other == first for other in found) else None


def _used(store: WindowStore) -> dict[str, Any] | None:
    stated = store.manifest.get("recipe")
    if stated is None:
        return None
    recipe = WindowRecipe.parse(stated)
    channels = {name: recipe.channels[name] for name in store.spec.names}
    windows = recipe.windows.model_copy(update={"denoise": None})
    return WindowRecipe(channels=channels, windows=windows).dump()


def carried_recipe(content: Mapping[str, Any], file: Path) -> WindowRecipe:
    """Return how the windows of the model in a checkpoint were made.

    Raises:
        CheckpointError: If it does not say.
    """
    stated = content.get("recipe")
    if stated is None:
        why = (
            "was written before checkpoints carried their recipe"
            if "recipe" not in content
            else "was trained on windows that do not say how they were made or on stores of "
            "several recipes, or was given new channels since"
        )
        raise CheckpointError(
            f"{file} can't be given raw recordings: it {why}",
            hint=NO_RECIPE,
        )
    return WindowRecipe.parse(stated)
