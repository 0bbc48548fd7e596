"""Masked code prediction: which code a tokenizer gives to what is hidden."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import spread
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.contract import Losses
from biosig_cli.models.base import Encoder
from biosig_cli.models.eeg import EegEncoder, need_eeg
from biosig_cli.models.pretrained import Trained, Weights
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.montage_masks import hide_share
from biosig_cli.objectives.tokenizer import CodebookConfig, Quantizer
from biosig_cli.signal.spec import SignalSpec

MOST_SURVEYED = 1000
"""Training windows of a store that the frequencies of codes are taken of."""


class MaskedCodesConfig(ObjectiveConfig):
    """How much is hidden, and what codes there are."""

    hides: ClassVar[bool] = True
    judged: ClassVar[str] = "cross_entropy"
    measure: ClassVar[str] = "cross entropy of codes"
    trivial: ClassVar[Mapping[str, str]] = {
        "cross_entropy_frequent": "frequencies of codes in training",
        "cross_entropy_chance": "every code alike",
    }
    also: ClassVar[Mapping[str, str]] = {
        "accuracy": "hidden patches whose code was found",
        "accuracy_placed": "the most frequent code of that electrode and time",
        "accuracy_frequent": "always the most frequent code",
        "accuracy_chance": "by chance",
    }

    mask_ratio: float = Field(0.5, gt=0, lt=1)
    """Share of patches hidden, anywhere."""
    symmetric: bool = True
    """Ask for the visible patches in turn, from the hidden ones: twice the work."""
    codebook: CodebookConfig = CodebookConfig()
    """That of the tokenizer."""

    def build(self, encoder: Encoder) -> "MaskedCodes":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If it is none for EEG.
        """
        return MaskedCodes(need_eeg(encoder, "masked_codes"), self)

    def doubts(self, best: Mapping[str, float]) -> Sequence[str]:
        """Say so where the code of a patch is known as well from where and when it is."""
        if best["val_accuracy"] > best["val_accuracy_placed"]:
            return ()
        return ("codes are found no better than by where and when a patch is",)

    def begins_anew(self, weights: Weights) -> bool:
        """Say yes of a tokenizer: it gives the codes, and the encoder learns from nothing."""
        return bool(codes_of(weights))


class MaskedCodes(Objective):
    """Hides patches and asks which codes a frozen tokenizer gives to them, which sees everything.

    The tokenizer is an encoder of the same architecture with its codebook, taken from a run that
    was asked `tokenizer`; it lies in the checkpoint, and never moves. In eval mode the answers of
    the frequencies of codes, and of chance, are scored on the same masks.

    Source:
        LaBraM (Jiang, Zhao, Lu, ICLR 2024, arXiv 2405.18765), section 2.4, equations 9 to 12:
        symmetric masking, half hidden at random. As there the encoder starts from random weights,
        not from the tokenizer's.
    """

    def __init__(self, encoder: EegEncoder, config: MaskedCodesConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = nn.ModuleDict(
            {"encoder": deepcopy(encoder), "quantizer": Quantizer(encoder.width, config.codebook)}
        )
        _turn_into_buffers(self.tokenizer)
        n_codes = config.codebook.n_codes
        self.answer = nn.Linear(encoder.width, n_codes)
        self.register_buffer("log_frequency", torch.full((n_codes,), -math.log(n_codes)))
        self._most_frequent: dict[tuple[str, ...], Tensor] = {}

    def take_over(self, name: str, weights: Weights | None) -> str:
        """Take the codes of a tokenizer, or go on with what a run that was asked the same has.

        Raises:
            ConfigError: If the weights bring no codes, or a codebook of another size.
        """
        known = codes_of(weights)
        if weights is None or not known:
            done = super().take_over(name, weights)
            if done:
                return done
            raise ConfigError(
                "masked_codes has no codes to ask for",
                hint="make them: biosig pretrain --config eeg_tokenizer; then start from it: "
                "--init-from artifacts/eeg_tokenizer",
            )
        found = tuple(known["codebook.vectors"].shape)
        wanted = (self.config.codebook.n_codes, self.config.codebook.width)
        if found != wanted:
            raise ConfigError(
                f"{weights.source} has {found[0]:,} codes of {found[1]} features, "
                f"masked_codes asks for {wanted[0]:,} of {wanted[1]}",
                hint=f"--set objectives.masked_codes.codebook.n_codes={found[0]} "
                f"--set objectives.masked_codes.codebook.width={found[1]}",
            )
        encoder = self.tokenizer["encoder"]
        assert isinstance(encoder, EegEncoder)
        weights.load_into(encoder)
        load_weights(self.tokenizer["quantizer"], known, source=f"{weights.source} (codes)")
        return f"asks for the {found[0]:,} codes of {weights.source}"

    def survey(self, encoder: Encoder, stores: Sequence[WindowStore]) -> Sequence[str]:
        """Count how often each code stands in training windows, and where."""
        counts = torch.ones(self.config.codebook.n_codes)  # none is impossible
        for store in stores:
            windows = torch.from_numpy(store.read(spread(len(store), MOST_SURVEYED)))
            codes = torch.cat([self.codes(some, store.spec) for some in torch.split(windows, 50)])
            counts += torch.bincount(codes.flatten(), minlength=len(counts))
            self._most_frequent[store.spec.names] = codes.mode(dim=0).values
        self.get_buffer("log_frequency").copy_((counts / counts.sum()).log())
        return ()

    @torch.no_grad()
    def codes(self, signal: Tensor, spec: SignalSpec) -> Tensor:
        """Return the code (B, C, P) of each patch of windows (B, C, T)."""
        self.tokenizer.eval()
        quantizer = self.tokenizer["quantizer"]
        assert isinstance(quantizer, Quantizer)
        codes: Tensor = quantizer.codebook(
            quantizer.vectors(self.tokenizer["encoder"](signal, None, spec).tokens)
        )
        return codes

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `cross_entropy` and `accuracy`, and in eval mode those of trivial answers."""
        assert isinstance(encoder, EegEncoder)
        spec = batch.spec or encoder.spec
        codes = self.codes(batch.signal, spec)
        hidden = hide_share(encoder, batch.key, spec, ratio=self.config.mask_ratio)
        total, accuracy = self._ask(encoder, batch.signal, codes, hidden, spec)
        if self.config.symmetric:
            other, other_accuracy = self._ask(encoder, batch.signal, codes, ~hidden, spec)
            share = hidden.float().mean()
            total = total + other
            accuracy = share * accuracy + (1 - share) * other_accuracy
        asked = torch.ones_like(hidden) if self.config.symmetric else hidden
        n_asked = 2 if self.config.symmetric else 1
        parts = {"cross_entropy": total.detach() / n_asked, "accuracy": accuracy}
        if not self.training:
            parts |= self._trivial(codes, asked, spec)
        return Losses(total, parts)

    def _ask(
        self, encoder: EegEncoder, signal: Tensor, codes: Tensor, hidden: Tensor, spec: SignalSpec
    ) -> tuple[Tensor, Tensor]:
        answer = self.answer(encoder(signal, hidden, spec).tokens[hidden]).float()
        wanted = codes[hidden]
        is_found = (answer.argmax(dim=1) == wanted).float()
        return F.cross_entropy(answer, wanted), is_found.mean().detach()

    def _trivial(self, codes: Tensor, asked: Tensor, spec: SignalSpec) -> dict[str, Tensor]:
        frequency = self.get_buffer("log_frequency")
        chance = 1 / len(frequency)
        wanted = codes[asked]
        placed = self._most_frequent[spec.names].to(codes.device).expand_as(codes)[asked]
        return {
            "cross_entropy_frequent": -frequency[wanted].mean(),
            "cross_entropy_chance": wanted.new_tensor(-math.log(chance), dtype=torch.float32),
            "accuracy_placed": (wanted == placed).float().mean(),
            "accuracy_frequent": (wanted == frequency.argmax()).float().mean(),
            "accuracy_chance": wanted.new_tensor(chance, dtype=torch.float32),
        }


def codes_of(weights: Weights | None) -> dict[str, Tensor]:
    """Return the tensors that a tokenizer's run left of its quantizer; none of another run."""
    if not isinstance(weights, Trained) or owned_by("masked_codes", weights.decoder):
        return {}
    return owned_by("tokenizer.quantizer", weights.decoder)


def _turn_into_buffers(module: nn.Module) -> None:
    """Make buffers of all parameters: no optimizer, no stage and no schedule finds them."""
    for each in module.modules():
        for name, parameter in list(each.named_parameters(recurse=False)):
            delattr(each, name)
            each.register_buffer(name, parameter.detach())
