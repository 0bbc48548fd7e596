"""The neural tokenizer: a code for each patch, from which its spectrum is drawn again."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import spread
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.contract import Losses
from biosig_cli.models.base import Encoder
from biosig_cli.models.eeg import EegEncoder, need_eeg
from biosig_cli.models.eeg_blocks import FullAttention
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.codebook import Codebook

MOST_SURVEYED = 500
"""Training windows of a store that the first codes are taken of."""
FEW = 0.05
"""Share of a codebook in use below which it is called collapsed."""


class CodebookConfig(Config):
    """Size of a codebook."""

    n_codes: int = Field(8192, gt=1)
    """Codes."""
    width: int = Field(64, gt=1)
    """Features of a code."""


class TokenizerConfig(ObjectiveConfig):
    """How patches become codes, and spectra again."""

    judged: ClassVar[str] = "spectrum"
    measure: ClassVar[str] = "mean squared error"
    trivial: ClassVar[Mapping[str, str]] = {"spectrum_mean": "mean spectrum of training"}
    also: ClassVar[Mapping[str, str]] = {
        "amplitude": "error of amplitudes, of 1",
        "phase": "error of phases, of 1",
        "codes_in_use": "share of the codebook that training gave something lately",
        "codes_perplexity": "as many equally frequent codes tell as much",
    }

    codebook: CodebookConfig = CodebookConfig()
    decay: float = Field(0.99, gt=0, lt=1)
    """Share of the past in the running means that codes follow."""
    commitment_weight: float = Field(1.0, ge=0)
    """Weight of the distance of a patch's vector from its code."""
    n_layers: int = Field(3, gt=0)
    """Blocks of the decoder."""

    def build(self, encoder: Encoder) -> "Tokenizer":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If it is none for EEG.
        """
        return Tokenizer(need_eeg(encoder, "tokenizer"), self)

    def doubts(self, best: Mapping[str, float]) -> Sequence[str]:
        """Say so where few codes are in use."""
        n_codes = self.codebook.n_codes
        share = best["val_codes_in_use"]
        if share >= FEW:
            return ()
        fewer = f"--set objectives.tokenizer.codebook.n_codes={max(64, n_codes // 16)}"
        return (
            f"the codebook collapsed: {share:.1%} of {n_codes:,} codes are in use; give fewer "
            f"({fewer}), more windows or more epochs",
        )


class Tokenizer(Objective):
    """Vector-quantized neural spectrum prediction: what a code keeps of a patch is its spectrum.

    Each token goes through two layers to a unit vector and to the nearest code; a decoder of
    several blocks draws from codes, places and times the amplitude and the phase of the half
    spectrum of every patch, each standardised over all patches of a window. The total is their
    mean squared errors plus the distance of vectors from codes; gradients pass the codes straight.

    Source:
        LaBraM (Jiang, Zhao, Lu, ICLR 2024, arXiv 2405.18765), section 2.3, equations 5 to 8.
        Deviations: half of the spectrum, as the other half says the same; codes begin at tokens of
        training windows instead of k-means, dead ones take new places, and answers begin at the
        mean spectrum, without which codes collapse before they tell anything; electrodes are told
        by place, not by name, and times by a wave, which the decoder shares; blocks have biases,
        but neither layer scale, norms of queries and keys, nor drop path; signals are in units of a
        robust scale of the recording instead of 0.1 mV.
    """

    def __init__(self, encoder: EegEncoder, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        width, n_heads = encoder.width, encoder.n_heads
        self.quantizer = Quantizer(width, config.codebook, config.decay)
        self.enter_decoder = nn.Linear(config.codebook.width, width)
        self.decoder = nn.ModuleList(
            FullAttention(width, n_heads, 0.0) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(width)
        n_bins = encoder.patch_length // 2 + 1
        self.amplitude, self.phase = (two_layers(width, n_bins) for _ in range(2))
        self.register_buffer("mean_spectrum", torch.zeros(2, n_bins))

    def survey(self, encoder: Encoder, stores: Sequence[WindowStore]) -> Sequence[str]:
        """Begin with codes where training windows are, and with their mean spectrum as answer."""
        if self.quantizer.codebook.counts.any():
            return ()  # it goes on with what a parent run has
        vectors, spectra = [], []
        with torch.no_grad():
            for store in stores:
                windows = torch.from_numpy(store.read(spread(len(store), MOST_SURVEYED)))
                for some in torch.split(windows, 50):
                    encoding = encoder(some, None, store.spec)
                    vectors.append(self.quantizer.vectors(encoding.tokens).flatten(0, -2))
                    spectra.append(torch.stack(spectrum_of(encoding.patches)).flatten(1, -2))
            self.quantizer.codebook.begin(torch.cat(vectors))
            self.get_buffer("mean_spectrum").copy_(torch.cat(spectra, dim=1).mean(dim=1))
            for head, mean in zip(self.heads, self.get_buffer("mean_spectrum"), strict=True):
                head.bias.copy_(mean)
        return ()

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `spectrum`, `amplitude`, `phase`, `commitment`, and how codes are used."""
        assert isinstance(encoder, EegEncoder)
        spec = batch.spec or encoder.spec
        encoding = encoder(batch.signal, None, spec)
        vectors = self.quantizer.vectors(encoding.tokens)
        codes = self.quantizer.codebook(vectors)
        chosen = self.quantizer.codebook.vectors[codes]
        commitment = F.mse_loss(vectors, chosen)
        straight = vectors + (chosen - vectors).detach()
        tokens = self.enter_decoder(straight)
        tokens = tokens + encoder.embed_places(encoder.montage(spec))[:, None]
        tokens = tokens + encoder.embed_times(encoding.patches)
        for layer in self.decoder:
            tokens = layer(tokens, None)
        tokens = self.norm(tokens)
        amplitude, phase = spectrum_of(encoding.patches.float())
        errors = {
            "amplitude": F.mse_loss(self.amplitude(tokens).float(), amplitude),
            "phase": F.mse_loss(self.phase(tokens).float(), phase),
        }
        total = errors["amplitude"] + errors["phase"]
        parts = {"spectrum": total.detach(), "commitment": commitment.detach()}
        parts |= {name: error.detach() for name, error in errors.items()}
        total = total + self.config.commitment_weight * commitment
        if self.training:
            return Losses(total, parts)
        means = self.get_buffer("mean_spectrum")
        parts["spectrum_mean"] = F.mse_loss(means[0].expand_as(amplitude), amplitude)
        parts["spectrum_mean"] += F.mse_loss(means[1].expand_as(phase), phase)
        book = self.quantizer.codebook
        parts |= {"codes_in_use": book.in_use, "codes_perplexity": book.perplexity}
        return Losses(total, parts)

    @property
    def heads(self) -> list[nn.Linear]:
        """The last layers of both answers."""
        return [cast(nn.Linear, layers[-1]) for layers in (self.amplitude, self.phase)]

    def stepped(self) -> None:
        """Let the codes follow what they were given."""
        self.quantizer.codebook.follow()


class Quantizer(nn.Module):
    """Two layers from a token to a unit vector, and the codebook that these are looked up in.

    Args:
        width: Features of a token, D.
        config: Size of the codebook.
        decay: Share of the past in the running means that codes follow.
    """

    def __init__(self, width: int, config: CodebookConfig, decay: float = 0.99) -> None:
        super().__init__()
        self.project = two_layers(width, config.width)
        self.codebook = Codebook(config.n_codes, config.width, decay)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the unit vectors (..., W) of tokens (..., D), in float32."""
        # Which of 8,192 codes is nearest is a question of the last digits.
        with torch.autocast(tokens.device.type, enabled=False):
            return F.normalize(self.project(tokens.float()), dim=-1)


def two_layers(n_inputs: int, n_outputs: int) -> nn.Sequential:
    """Return Linear, Tanh, Linear."""
    return nn.Sequential(nn.Linear(n_inputs, n_inputs), nn.Tanh(), nn.Linear(n_inputs, n_outputs))


def spectrum_of(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return amplitude and phase (B, C, P, L // 2 + 1) of patches (B, C, P, L).

    Each is standardised by mean and deviation over all of a window; what does not vary is zero.
    """
    spectrum = torch.fft.rfft(patches, norm="ortho")
    return _standardised(spectrum.abs()), _standardised(spectrum.angle())


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp(min=1e-6)
