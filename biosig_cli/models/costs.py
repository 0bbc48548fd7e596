"""What a model costs, layer by layer: parameters, and arithmetic for one window."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biosig_cli.models.ppg_autoencoder import AutoencoderDecoder, PpgAutoencoder


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        name: The layer, as it is called in a checkpoint.
        shape: Features and length of what it gives for one channel of one window.
        n_parameters: How many parameters it has.
        mflops: Millions of floating-point operations for one window; a multiplication and an
            addition are two. Only convolutions are counted: all else is below 1 %.
    """

    name: str
    shape: tuple[int, ...]
    n_parameters: int
    mflops: float


def cost_table(
    encoder: PpgAutoencoder, decoder: AutoencoderDecoder, n_samples: int
) -> list[LayerCost]:
    """Return what every layer costs, in the order of the signal's way, and the sum.

    Nothing is computed: the layers are asked for the shapes alone.

    Args:
        encoder: From windows to tokens.
        decoder: From tokens to windows.
        n_samples: Length of a window, T.
    """
    autoencoder = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    copied = copy.deepcopy(autoencoder).to("meta")
    rows: list[LayerCost] = []
    n_channels = encoder.spec.n_channels
    for name, layer in copied.named_modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d | nn.GroupNorm):
            layer.register_forward_hook(_noter(rows, name, n_channels))
    with torch.no_grad():
        window = torch.empty(1, n_channels, n_samples, device="meta")
        copied["decoder"](copied["encoder"](window).tokens, n_samples)
    total = sum(row.mflops for row in rows)
    n_parameters = sum(parameter.numel() for parameter in autoencoder.parameters())
    return [*rows, LayerCost("all", (n_channels, n_samples), n_parameters, total)]


def _noter(
    rows: list[LayerCost], name: str, n_channels: int
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """Return a hook that writes a row when its layer is passed."""

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        n_parameters = sum(parameter.numel() for parameter in layer.parameters())
        mflops = flops(layer, inputs[0].shape[-1], output.shape[-1]) * n_channels / 1e6
        rows.append(LayerCost(name, tuple(output.shape[1:]), n_parameters, mflops))

    return note


def flops(layer: nn.Module, n_in: int, n_out: int) -> int:
    """Return the operations of a layer on one sequence of length `n_in`, that gives `n_out`.

    Every weight of a convolution is used once per place: of the output, or of the input where it
    is transposed.
    """
    if isinstance(layer, nn.ConvTranspose1d):
        return 2 * layer.weight.numel() * n_in
    if isinstance(layer, nn.Conv1d):
        return 2 * layer.weight.numel() * n_out
    return 0
