"""Tokens of single patches by convolution along time."""

from torch import Tensor, nn

N_FILTERS, STRIDE = 8, 8


class TemporalConv(nn.Module):
    """Three short convolutions along the time of a patch, the first with a stride of 8 samples.

    Args:
        patch_length: Samples in a patch, L.
        width: Features of a token, D.

    Source:
        The temporal encoder of LaBraM (Jiang, Zhao, Lu, ICLR 2024, arXiv 2405.18765, section 2.2):
        eight filters of 15 samples, then two layers of 3, each with group norm and GELU. There 200
        samples make 25 x 8 = 200 features, which are the token; a linear layer makes the width of
        whatever comes out here.
    """

    def __init__(self, patch_length: int, width: int) -> None:
        super().__init__()
        n_steps = (patch_length - 1) // STRIDE + 1
        layers: list[nn.Module] = []
        for size, stride, n_inputs in ((15, STRIDE, 1), (3, 1, N_FILTERS), (3, 1, N_FILTERS)):
            conv = nn.Conv1d(n_inputs, N_FILTERS, size, stride=stride, padding=size // 2)
            layers += [conv, nn.GroupNorm(4, N_FILTERS), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(n_steps * N_FILTERS, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Return tokens (..., D) of patches (..., L)."""
        made = self.layers(patches.flatten(0, -2)[:, None])
        token: Tensor = self.out(made.transpose(1, 2).flatten(1))
        return token.view(*patches.shape[:-1], -1)
