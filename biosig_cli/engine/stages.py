"""Stages of a training: which parameters may move, how fast, and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from torch import nn

from biosig_cli.core.errors import TrainingError

EVERYTHING = ("*",)


@dataclass(frozen=True)
class Stage:
    """Some epochs in which some of the parameters move.

    Attributes:
        name: What the log calls it.
        epochs: How many epochs it lasts.
        lr: Highest learning rate.
        moves: Patterns of parameter names, such as `head.*`; what fits none of them is frozen.
        scales: By pattern, what the learning rate of some parameters is multiplied by; the first
            pattern that fits counts.
    """

    name: str
    epochs: int
    lr: float
    moves: tuple[str, ...] = EVERYTHING
    scales: Mapping[str, float] = field(default_factory=dict)

    @property
    def rates(self) -> str:
        """The learning rates, as a log says them: the stage's own, then those it is scaled to."""
        scaled = sorted({self.lr * scale for scale in self.scales.values()} - {self.lr})
        return " and ".join(f"{lr:.1e}" for lr in [self.lr, *scaled])


def fit_stages(stages: Sequence[Stage], epochs: int) -> list[Stage]:
    """Return the stages shortened to `epochs` in all; a stage without epochs is left out."""
    fitted, left = [], epochs
    for stage in stages:
        n_epochs = min(stage.epochs, left)
        left -= n_epochs
        if n_epochs:
            fitted.append(replace(stage, epochs=n_epochs))
    return fitted


def moving(module: nn.Module, moves: Sequence[str]) -> list[str]:
    """Return the names of the parameters that fit one of the patterns `moves`.

    Raises:
        TrainingError: If a pattern fits nothing.
    """
    names = [name for name, _ in module.named_parameters()]
    idle = [p for p in moves if not any(fnmatchcase(name, p) for name in names)]
    if idle:
        raise TrainingError(
            f"no parameter is called like {', '.join(idle)}",
            hint=f"there are {', '.join(names[:4])}, ...",
        )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in moves)]


def let_move(module: nn.Module, moves: Sequence[str]) -> None:
    """Let the parameters that fit `moves` get gradients, and no other.

    Raises:
        TrainingError: If a pattern fits nothing.
    """
    chosen = set(moving(module, moves))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)


def train_what_moves(module: nn.Module) -> None:
    """Put modules into train mode, and those whose parameters are all frozen into eval mode.

    A frozen norm or dropout would otherwise still change what comes out.
    """
    module.train()
    for each in module.modules():
        parameters = list(each.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            each.eval()
