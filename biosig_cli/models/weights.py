"""Putting weights into a model: every name is accounted for, nothing is matched by luck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from biosig_cli.core.errors import CheckpointError


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor.

    Attributes:
        matched: Names that were loaded.
        missing: Names of the model that the weights do not have.
        unexpected: Names of the weights that the model does not have.
        mismatched: Names on both sides whose shapes differ.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def describe(self) -> str:
        """Return the counts in one line."""
        return (
            f"{len(self.matched)} tensors matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape"
        )


def load_weights(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    created: Sequence[str] = (),
) -> LoadReport:
    """Copy `weights` into `module`, or refuse and change nothing.

    Args:
        module: What to fill.
        weights: Tensors by name.
        source: Where they come from, for messages.
        created: Names that may be missing because the model makes them itself.

    Raises:
        CheckpointError: If nothing matches, or anything else than `created` does not.
    """
    own = module.state_dict()
    common = [name for name in own if name in weights]
    mismatched = [name for name in common if own[name].shape != weights[name].shape]
    report = LoadReport(
        matched=tuple(name for name in common if name not in mismatched),
        missing=tuple(name for name in own if name not in weights and name not in created),
        unexpected=tuple(name for name in weights if name not in own),
        mismatched=tuple(mismatched),
    )
    wrong = report.missing + report.unexpected + report.mismatched
    if wrong or not report.matched:
        examples = ", ".join(wrong[:4]) + (", ..." if len(wrong) > 4 else "")
        raise CheckpointError(
            f"weights of {source} do not fit the model: {report.describe()} ({examples})",
            hint="the weights belong to another architecture; use the settings they were made with",
        )
    module.load_state_dict(dict(weights), strict=False)
    return report


def owned_by(part: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one part among those that a pretraining left, by their own names.

    Args:
        part: An objective, such as `masked`, or something in it, such as `rhythm.reader`.
        weights: What the objectives owned. Runs from when there was one objective only have the
            tensors of `masked` without a prefix.
    """
    prefix = f"{part}."
    own = {
        name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)
    }
    return own or (dict(weights) if part == "masked" else {})
