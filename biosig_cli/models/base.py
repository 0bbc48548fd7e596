"""What every encoder is: windows in, tokens out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.signal.spec import SignalSpec


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
    """

    spec: SignalSpec
    n_positions: int
    patch_length: int
    width: int

    @abstractmethod
    def forward(self, signal: Tensor, hidden: Tensor | None = None) -> Encoding:
        """Encode windows.

        Args:
            signal: (B, C, T).
            hidden: (B, C, P) bool, True where the encoder may not look; nothing is hidden if
                None. No sample of a hidden patch has any influence on the tokens.

        Returns:
            Tokens, and the patches that they describe.
        """


class ModelConfig(Config):
    """Base of the settings that build an encoder."""
