"""Units of samples: voltages and accelerations are converted, what contradicts is refused."""

from biosig_cli.core.errors import DataError

SCALES = (
    {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9},
    {"g": 1.0, "mg": 1e-3, "m/s^2": 1 / 9.80665},
)
"""Units that measure the same, by their size."""

UNSTATED = frozenset({"", "nu", "a.u.", "au", "n/a", "none", "unknown", "adu", "1"})
"""What formats write where a device states no unit, in lower case."""

SPELLINGS = {"μ": "u", "µ": "u", "²": "^2", "m/s2": "m/s^2", "**": "^"}


def unit_factor(found: str, wanted: str, *, what: str) -> float:
    """Return what samples in the unit `found` are multiplied by to be in `wanted`.

    Where either is unstated there is nothing to compare, and the samples stay as they are.

    Args:
        found: Unit that the recording states.
        wanted: Unit of the channel in the recipe.
        what: The track, for the error.

    Raises:
        DataError: If the two do not measure the same.
    """
    found, wanted = _plain(found), _plain(wanted)
    if found == wanted or UNSTATED & {found.lower(), wanted.lower()}:
        return 1.0
    for scale in SCALES:
        sizes = {unit.lower(): size for unit, size in scale.items()}
        if found.lower() in sizes and wanted.lower() in sizes:
            return sizes[found.lower()] / sizes[wanted.lower()]
    if found.lower() == wanted.lower():
        return 1.0
    raise DataError(
        f"{what} is in {found}, the channel's unit is {wanted}: they do not measure the same",
        hint="check `tracks` and `unit` of the channel in the recipe",
    )


def _plain(unit: str) -> str:
    for spelling, plain in SPELLINGS.items():
        unit = unit.replace(spelling, plain)
    return unit.strip()
