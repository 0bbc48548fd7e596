"""What every encoder is: windows in, tokens out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.signal.spec import Channel, SignalSpec


@dataclass(frozen=True)
class Encoding:
    """What an encoder makes of windows.

    Attributes:
        tokens: (B, C, P, D), one per channel and position in time.
        patches: (B, C, P, L), the signal as the encoder saw it: cut, and scaled by the mean and
            deviation of what was visible.
    """

    tokens: Tensor
    patches: Tensor


class Encoder(nn.Module, ABC):
    """Turns windows into tokens.

    Attributes:
        spec: The windows it takes.
        n_positions: Patches in a window, P.
        patch_length: Samples in a patch, L.
        width: Features of a token, D.
        channel_dims: Every parameter that depends on channels, and along which dimensions: what an
            encoder for other channels differs in, and all that it differs in. None where that is
            not known: it takes the channels that it was made for, and no others.
        blocks: Names of the blocks in the order of the signal's way through them.
        fusion: Pattern of the parameters through which channels inform each other.
        only_when_hidden: Parameters that have a part only where something is hidden.
        any_montage: Whether it takes windows of other channels than those of `spec`, too.
        can_hide: Whether patches can be hidden from it.
    """

    spec: SignalSpec
    n_positions: int
    patch_length: int
    width: int
    channel_dims: Mapping[str, tuple[int, ...]] | None
    blocks: tuple[str, ...]
    fusion: str
    only_when_hidden: tuple[str, ...]
    any_montage: bool = False
    can_hide: bool = True

    @property
    def reached(self) -> tuple[str, ...]:
        """Names of the parameters that have a part where nothing is hidden."""
        names = (name for name, _ in self.named_parameters())
        return tuple(name for name in names if name not in self.only_when_hidden)

    def montage(self, spec: SignalSpec | None = None) -> tuple[Channel, ...]:
        """Return the channels that tokens are of, for windows of `spec`; its own if None."""
        return (spec or self.spec).channels

    @abstractmethod
    def forward(
        self, signal: Tensor, hidden: Tensor | None = None, spec: SignalSpec | None = None
    ) -> Encoding:
        """Encode windows.

        Args:
            signal: (B, C, T).
            hidden: (B, C, P) bool, True where the encoder may not look; nothing is hidden if
                None. No sample of a hidden patch has any influence on the tokens. A channel that
                is hidden everywhere is absent: the tokens of the others are as if it did not exist.
            spec: What the windows are, for an encoder that takes any montage; its own if None.

        Returns:
            Tokens, and the patches that they describe.
        """


class ModelConfig(Config):
    """Base of the settings that build an encoder."""

    free: ClassVar[frozenset[str]] = frozenset(("init_from", "dropout"))
    """Settings that need not be those of the weights that an encoder starts from."""

    @property
    def called(self) -> str:
        """What messages call it."""
        return str(self.dump()["kind"])

    init_from: str | None = None
    """Weights to start from: a run, or for a TTM a folder or a hub id with @revision as well;
    random if not given."""
