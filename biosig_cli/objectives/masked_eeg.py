"""Masked modelling of EEG: hide patches of the head and of time, ask for them back."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import spread
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.contract import Losses
from biosig_cli.models.adapters import places_of
from biosig_cli.models.base import Encoder
from biosig_cli.models.eeg import EegEncoder, need_eeg
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.distances import SMOOTH
from biosig_cli.objectives.montage_masks import MontageMask, hide_share
from biosig_cli.objectives.neighbours import covariance_answer, covariance_of, spline_answer
from biosig_cli.signal.spec import SignalSpec

MOST_SURVEYED = 1000
"""Training windows of a store that its covariance is taken of."""


class MaskedEegConfig(ObjectiveConfig):
    """How much of a montage is hidden, where, and how the answer is judged."""

    hides: ClassVar[bool] = True
    judged: ClassVar[str] = "mse"
    measure: ClassVar[str] = "mean squared error"
    trivial: ClassVar[Mapping[str, str]] = {
        "zero": "predict zero",
        "spline": "spherical spline",
        "ridge": "ridge on training covariance",
    }

    mask_ratio: float = Field(0.5, gt=0, lt=1)
    """Share of patches hidden."""
    mask_type: MontageMask = "block"
    """Patches anywhere, all electrodes at a time, or electrodes near each other for a while."""
    radius: float = Field(0.6, gt=0, le=2)
    """Size of a block on the head: the distance from its centre, where the head's radius is 1."""
    span: int = Field(3, gt=0)
    """Length of a block in patches."""
    spectral_weight: float = Field(0.1, ge=0)
    """Weight of the distance of log spectra of hidden patches."""
    pooled_weight: float = Field(0.1, ge=0)
    """Weight of the answer that is given from the mean of all tokens alone."""
    symmetric: bool = False
    """Ask for the visible patches in turn, from the hidden ones: twice the work."""

    def build(self, encoder: Encoder) -> "MaskedEeg":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If it is none for EEG.
        """
        return MaskedEeg(need_eeg(encoder, "masked_eeg"), self)


class MaskedEeg(Objective):
    """Hides patches of electrodes in time, and asks for them from what is visible.

    The total is the mean absolute error of hidden patches, plus `spectral_weight` times the
    distance of their log spectra, plus `pooled_weight` times the error of a second answer, made of
    the mean of all tokens and of where and when the patch was: it makes the mean worth something.
    In eval mode three trivial answers are scored on the same masks: zero, spherical splines, and a
    ridge regression on the electrodes visible at the same time.

    Source:
        Masks and the pooled answer after REVE (arXiv 2510.21585): L1 of masked patches, weight 0.1
        of the second answer. Deviations: hidden patches pass the encoder as a learned token; the
        spectral term; blocks are caps of the head.
    """

    def __init__(self, encoder: EegEncoder, config: MaskedEegConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = nn.Linear(encoder.width, encoder.patch_length)
        self.pooled: nn.Module | None = None
        if config.pooled_weight:
            self.pooled = nn.Sequential(
                nn.Linear(encoder.width, encoder.width),
                nn.GELU(),
                nn.Linear(encoder.width, encoder.patch_length),
            )
        # The first answer is zero: training only improves on it.
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)
        self._covariances: dict[tuple[str, ...], Tensor] = {}

    def survey(self, encoder: Encoder, stores: Sequence[WindowStore]) -> Sequence[str]:
        """Take the covariance of each montage from its training windows."""
        assert isinstance(encoder, EegEncoder)
        for store in stores:
            windows = store.read(spread(len(store), MOST_SURVEYED))
            with torch.no_grad():
                adapted = encoder.adapter(torch.from_numpy(windows), store.spec.channels)
            self._covariances[store.spec.names] = covariance_of(adapted.signal.numpy())
        return ()

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `mse`, `l1`, `spectral`, `pooled`, and in eval mode `zero`, `spline`, `ridge`."""
        assert isinstance(encoder, EegEncoder)
        spec = batch.spec or encoder.spec
        hidden = self.draw(encoder, batch.key, spec)
        total, parts, target = self._ask(encoder, batch.signal, hidden, spec)
        if self.config.symmetric:
            other, _, _ = self._ask(encoder, batch.signal, ~hidden, spec)
            total = (total + other) / 2
        if not self.training:
            parts |= self._trivial_errors(encoder, target, hidden, spec)
        return Losses(total, parts)

    def draw(self, encoder: Encoder, keys: Tensor, spec: SignalSpec) -> Tensor:
        """Return which patches are hidden, (B, C, P) bool."""
        return hide_share(
            encoder,
            keys,
            spec,
            ratio=self.config.mask_ratio,
            kind=self.config.mask_type,
            radius=self.config.radius,
            span=self.config.span,
        )

    def _ask(
        self, encoder: EegEncoder, signal: Tensor, hidden: Tensor, spec: SignalSpec
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        encoding = encoder(signal, hidden, spec)
        target = encoding.patches.float()
        answer = self.decoder(encoding.tokens).float()
        l1 = _mean_over(hidden, (answer - target).abs())
        parts = {"mse": _mean_over(hidden, (answer - target).square()), "l1": l1}
        total = l1
        if self.config.spectral_weight:
            parts["spectral"] = _mean_over(hidden, _spectral_error(answer, target))
            total = total + self.config.spectral_weight * parts["spectral"]
        if self.pooled is not None:
            mean = encoding.tokens.mean(dim=(1, 2), keepdim=True)
            where = encoder.embed_places(encoder.montage(spec))[:, None]
            again = self.pooled(mean + where + encoder.embed_times(target)).float()
            parts["pooled"] = _mean_over(hidden, (again - target).abs())
            total = total + self.config.pooled_weight * parts["pooled"]
        return total, {name: part.detach() for name, part in parts.items()}, target

    def _trivial_errors(
        self, encoder: EegEncoder, target: Tensor, hidden: Tensor, spec: SignalSpec
    ) -> dict[str, Tensor]:
        answers = {
            "zero": torch.zeros_like(target),
            "spline": spline_answer(target, hidden, places_of(encoder.montage(spec))),
            "ridge": covariance_answer(target, hidden, self._covariances[spec.names]),
        }
        return {
            name: _mean_over(hidden, (answer - target).square()) for name, answer in answers.items()
        }


def _mean_over(hidden: Tensor, errors: Tensor) -> Tensor:
    """Return the mean of errors (B, C, P, ...) over hidden patches, of which all have as many."""
    per_patch = errors.flatten(3).mean(dim=-1)
    return (per_patch * hidden).sum() / hidden.sum()


def _spectral_error(answer: Tensor, target: Tensor) -> Tensor:
    """Return the distance of log(|S| + 1) of patches (B, C, P, L), smooth near zero."""
    made, wanted = (torch.fft.rfft(x, norm="ortho").abs().log1p() for x in (answer, target))
    return F.smooth_l1_loss(made, wanted, beta=SMOOTH, reduction="none")
