"""A reader says how likely each rate is; a head stands on few numbers that sum it up."""

import torch

from biosig_cli.models.heads import HeadConfig
from biosig_cli.models.rhythm import N_RATES, Reading, RhythmReader, n_summary


def test_probabilities_of_rates_add_up_to_one() -> None:
    reading = RhythmReader(4)(torch.randn(3, 2, 10, 4))
    assert reading.rates.shape == (3, 2, N_RATES)
    torch.testing.assert_close(reading.rates.exp().sum(-1), torch.ones(3, 2))


def test_a_summary_tells_rate_certainty_and_agreement() -> None:
    rates = torch.full((3, 2, N_RATES), -10.0)
    rates[0, :, 20] = 10.0  # both channels say 1.5 Hz
    rates[1, 0, 20] = rates[1, 1, 40] = 10.0  # one says 1.5 Hz, the other 2.5 Hz
    rates[2] = 0.0  # neither knows
    told = Reading(rates.log_softmax(-1), torch.zeros(3, 2)).summary()
    snr, sure, highest, rate, *_, agreement = told.unbind(1)
    assert told.shape == (3, n_summary(2))
    assert snr.tolist() == [0.0] * 3
    torch.testing.assert_close(rate[:2], torch.full((2,), 1.5).log(), atol=1e-3, rtol=0)
    torch.testing.assert_close(sure[2], -torch.tensor(float(N_RATES)).log())
    torch.testing.assert_close(highest[2], -torch.tensor(float(N_RATES)).log())
    assert sure[0] > -0.01
    assert agreement[0] > -0.01
    assert agreement[1] < -5


def test_a_rhythm_head_reaches_every_parameter_once_it_has_moved() -> None:
    head = HeadConfig(kind="rhythm").build(n_channels=3, width=4, n_outputs=2)
    tokens = torch.randn(5, 3, 10, 4)
    assert head(tokens).tolist() == [[0.0, 0.0]] * 5
    with torch.no_grad():
        head.get_parameter("out.weight").normal_()
    head(tokens).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
