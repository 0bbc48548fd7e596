"""Rhythm under artefacts: put movement on clean windows, ask how fast the heart beats in them.

The answer is a probability for each rate, so that an encoder learns when it can't know: how sure
it is tells good windows from bad ones before it has seen a single label.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.draws import fork
from biosig_cli.models.base import Encoder
from biosig_cli.models.rhythm import N_RATES, RhythmReader, rates_hz
from biosig_cli.objectives.artefacts import add_artefacts, change_speed, scaled
from biosig_cli.objectives.base import Objective, ObjectiveConfig

HIGHEST_HZ = {"ecg": 40.0}
"""Up to where artefacts reach, by kind of channel."""
OTHERWISE_HZ = 8.0
SPEED, DAMAGE = 101, 102
"""What draws are for; others than those of masks, which start from the same keys."""


class RhythmConfig(ObjectiveConfig):
    """How windows are damaged, and what is asked of them."""

    judged: ClassVar[str] = "rhythm"
    measure: ClassVar[str] = "cross-entropy"
    trivial: ClassVar[Mapping[str, str]] = {"rhythm_even": "every rate alike"}

    snr_db: tuple[float, float] = (-15.0, 25.0)
    """Range of the power of the signal against that of the artefact."""
    clean_share: float = Field(0.15, ge=0, lt=1)
    """Part of the windows that get no artefact, channel by channel."""
    slowest: float = Field(0.6, gt=0)
    """Lowest speed at which a window is played."""
    fastest: float = Field(2.0, gt=0)
    """Highest speed: hearts at rest then beat as they do when running."""
    snr_weight: float = Field(1.0, ge=0)
    """Weight of the question how strong the artefact is."""
    denoise_weight: float = Field(0.5, ge=0)
    """Weight of the question what the clean signal looks like."""

    def build(self, encoder: Encoder) -> "Rhythm":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If no channel shows a pulse whose rate could be asked for.
        """
        kinds = encoder.spec.kinds
        if "ppg" not in kinds:
            raise ConfigError(
                f"the rhythm is that of a PPG, and there is none: {', '.join(encoder.spec.names)}",
                hint="pretrain without it: --set objectives.rhythm.weight=0",
            )
        return Rhythm(encoder, self, pulse=kinds.index("ppg"))


class Rhythm(Objective):
    """Damages clean windows, and asks each channel alone for the pulse rate of the clean PPG.

    The answer is compared with the spectrum of the clean PPG between 0.5 and 4 Hz by cross-entropy.
    As an ECG is asked for the same rate, channels come to speak of rates in the same terms, and
    whether they agree can be read off. Beside that, how strong the artefact is (in 10 dB), and the
    clean signal in units of its deviation. In eval mode the lowest cross-entropy that is possible
    stands beside, and that of an even answer.

    Args:
        encoder: The encoder that is asked.
        config: How windows are damaged.
        pulse: Place of the PPG among the channels.
    """

    def __init__(self, encoder: Encoder, config: RhythmConfig, pulse: int) -> None:
        super().__init__()
        self.config, self.pulse = config, pulse
        self.reader = RhythmReader(encoder.width)
        self.decoder = nn.Linear(encoder.width, encoder.patch_length)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `rhythm`, `snr`, `denoise`, and in eval mode `rhythm_floor` and `rhythm_even`."""
        config, spec = self.config, encoder.spec
        clean, speed = change_speed(
            batch.signal,
            fork(batch.key, SPEED),
            slowest=config.slowest,
            fastest=config.fastest,
        )
        # Of the window as it was recorded: where it is folded back, its rhythm breaks.
        asked = pulse_spectrum(batch.signal[:, self.pulse], spec.sampling_hz, speed)
        keys = [fork(fork(batch.key, DAMAGE), channel) for channel in range(spec.n_channels)]
        highest_hz = [HIGHEST_HZ.get(kind, OTHERWISE_HZ) for kind in spec.kinds]
        damaged = add_artefacts(
            clean.flatten(0, 1),
            torch.stack(keys, dim=1).flatten(),
            sampling_hz=spec.sampling_hz,
            highest_hz=clean.new_tensor(highest_hz).repeat(len(clean))[:, None],
            snr_db=config.snr_db,
            clean_share=config.clean_share,
        )
        tokens = encoder(damaged.signal.view_as(clean)).tokens
        reading = self.reader(tokens)
        rhythm = -(asked[:, None] * reading.rates).sum(dim=-1).mean()
        snr = (reading.snr - damaged.snr_db.view_as(reading.snr) / 10).square().mean()
        answer = self.decoder(tokens).float().flatten(2)
        denoise = (answer - scaled(clean)).square().mean()
        total = rhythm + config.snr_weight * snr + config.denoise_weight * denoise
        parts = {"rhythm": rhythm.detach(), "snr": snr.detach(), "denoise": denoise.detach()}
        if not self.training:
            parts["rhythm_floor"] = -torch.xlogy(asked, asked).sum(dim=-1).mean()
            parts["rhythm_even"] = asked.new_tensor(N_RATES).log()
        return Losses(total, parts)


def pulse_spectrum(signal: Tensor, sampling_hz: float, speed: Tensor) -> Tensor:
    """Return how the power of signals is shared among the rates, if they are played at a speed.

    Args:
        signal: (B, T) as recorded.
        sampling_hz: Their sampling rate.
        speed: (B,) how many times faster they are played.

    Returns:
        (B, N_RATES) float32 shares, which add up to one.
    """
    n_samples = signal.shape[-1]
    seconds = torch.arange(n_samples, device=signal.device) / sampling_hz
    recorded_hz = rates_hz(signal.device) / speed[:, None].float()
    angle = 2 * torch.pi * recorded_hz[..., None] * seconds
    window = torch.hann_window(n_samples, device=signal.device)
    values = (scaled(signal.float()) * window)[..., None]
    power = ((angle.cos() @ values).square() + (angle.sin() @ values).square())[..., 0]
    return power / power.sum(dim=-1, keepdim=True).clamp(min=1e-12)
