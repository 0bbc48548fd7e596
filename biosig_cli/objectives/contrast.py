"""Contrast: windows of different people who saw the same should be alike, all others apart."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Pairs:
    """Which windows of a batch are compared, and how.

    Attributes:
        positive: (N, N) bool, pairs that should be alike.
        candidate: (N, N) bool, pairs that are looked at: the positive ones, and those that should
            be apart; nobody is paired with itself.
    """

    positive: Tensor
    candidate: Tensor


def pair_up(
    subject: Tensor, segment: Tensor, movie: Tensor, time_s: Tensor, guard_s: float
) -> Pairs:
    """Return the pairs of a batch: the same moment seen by two people is alike.

    Neither alike nor apart are windows of one person at one moment, and moments of one movie that
    are nearer than `guard_s`. The same person at another time is apart, so that who somebody is
    does not help; other moments of the same movie are, so that neither does which recording it was.

    Args:
        subject: (N,) codes of the people.
        segment: (N,) codes of the moments.
        movie: (N,) codes of what was seen.
        time_s: (N,) when in it, in seconds; not a number where it has no time.
        guard_s: Moments nearer than this are too alike to be told apart.
    """
    same_subject, same_segment, same_movie = (
        each[:, None] == each for each in (subject, segment, movie)
    )
    positive = same_segment & ~same_subject
    distance = (time_s[:, None] - time_s).abs()
    is_near = same_movie & ~same_segment & (distance < guard_s)
    is_self = torch.eye(len(subject), dtype=torch.bool, device=subject.device)
    return Pairs(positive, ~is_self & ~(same_segment & same_subject) & ~is_near)


def info_nce(embedding: Tensor, pairs: Pairs, temperature: float | Tensor) -> Tensor:
    """Return the multi-positive contrastive loss, () float32; 0 where nobody has a partner.

    Args:
        embedding: (N, D) of unit length.
        pairs: Which of them are alike, and which are compared.
        temperature: What cosines are divided by.

    Source:
        Khosla et al., NeurIPS 2020, arXiv 2004.11362, equation 2 (the sum over positives outside
        the logarithm); with one positive each it is NT-Xent (Chen et al., ICML 2020, arXiv
        2002.05709). Anchors without a positive are left out.
    """
    logits = embedding.float() @ embedding.float().T / temperature
    compared = logits.masked_fill(~pairs.candidate, -torch.inf)
    positive = pairs.positive & pairs.candidate
    n_positive = positive.sum(dim=1)
    has_any = n_positive > 0
    if not bool(has_any.any()):
        return embedding.new_zeros((), dtype=torch.float32)
    log_share = logits - compared[:, :].logsumexp(dim=1, keepdim=True)
    each = -(log_share.masked_fill(~positive, 0.0)).sum(dim=1)[has_any] / n_positive[has_any]
    return each.mean()


class InfoNce(nn.Module):
    """`info_nce` as a module, with a temperature that may be learned.

    Args:
        temperature: Where it starts.
        learned: Whether it moves, between 0.02 and 1.
    """

    def __init__(self, temperature: float = 0.1, *, learned: bool = False) -> None:
        super().__init__()
        start = torch.tensor(temperature).log()
        self.log_temperature: Tensor
        if learned:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start)

    @property
    def temperature(self) -> Tensor:
        """The temperature now."""
        return self.log_temperature.exp().clamp(0.02, 1.0)

    def forward(self, embedding: Tensor, pairs: Pairs) -> Tensor:
        """Return the loss."""
        return info_nce(embedding, pairs, self.temperature)


def mean_isc(embedding: Tensor, subject: Tensor, segment: Tensor) -> Tensor:
    """Return the inter-subject correlation of an embedding over moments, () float32.

    Args:
        embedding: (N, D) of windows in which each of K people has each of M moments once.
        subject: (N,) codes of the people.
        segment: (N,) codes of the moments.

    Raises:
        ValueError: If somebody lacks a moment.
    """
    people, who = torch.unique(subject, return_inverse=True)
    moments, when = torch.unique(segment, return_inverse=True)
    if len(people) * len(moments) != len(embedding):
        raise ValueError(
            f"{len(embedding)} windows are not each of {len(moments)} moments of each of "
            f"{len(people)} people"
        )
    order = (who * len(moments) + when).argsort()
    series = embedding.float()[order].view(len(people), len(moments), -1)
    centred = series - series.mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6)
    together = unit.sum(dim=0).square().sum(dim=0)
    own = unit.square().sum(dim=(0, 1))
    n_pairs = len(people) * (len(people) - 1)
    correlation: Tensor = ((together - own) / n_pairs).mean()
    return correlation


def spread_penalty(embedding: Tensor) -> Tensor:
    """Return what an embedding costs that does not vary, or says the same in several features.

    Source:
        Bardes, Ponce, LeCun, ICLR 2022, arXiv 2105.04906, equations 1 to 4: a hinge on the
        deviation of each feature at 1, and the squared covariances of different features.
    """
    centred = embedding.float() - embedding.float().mean(dim=0)
    deviation = (centred.var(dim=0) + 1e-4).sqrt()
    covariance = centred.T @ centred / (len(centred) - 1)
    apart = covariance - torch.diag(covariance.diagonal())
    return F.relu(1 - deviation).mean() + apart.square().sum() / embedding.shape[1]


def retrieval(
    embedding: Tensor, subject: Tensor, segment: Tensor, movie: Tensor
) -> Mapping[str, float]:
    """Return how often a moment is found in another person, beside what guessing finds.

    Each moment of a person is looked for among the moments of the same movie of each other person;
    it is found where the most similar one (cosine) is the same moment.

    Args:
        embedding: (N, D) of unit length.
        subject: (N,) codes.
        segment: (N,) codes.
        movie: (N,) codes.

    Returns:
        `retrieval`, the mean over pairs of people and movies; `retrieval_chance`; `alignment`, the
        mean squared distance of what should be alike; `uniformity`, the logarithm of the mean of
        exp(-2 distance^2) over all pairs (Wang and Isola, ICML 2020, arXiv 2005.10242).
    """
    hits, chances = [], []
    for which in torch.unique(movie):
        in_movie = movie == which
        people = torch.unique(subject[in_movie])
        for one in people:
            mine = (in_movie & (subject == one)).nonzero()[:, 0]
            for other in people[people != one]:
                theirs = (in_movie & (subject == other)).nonzero()[:, 0]
                asked = mine[torch.isin(segment[mine], segment[theirs])]
                if len(asked) and len(theirs) > 1:
                    nearest = (embedding[asked] @ embedding[theirs].T).argmax(dim=1)
                    is_found = segment[theirs[nearest]] == segment[asked]
                    hits.append(float(is_found.float().mean()))
                    # A moment is there once, a state often.
                    is_right = segment[asked][:, None] == segment[theirs]
                    chances.append(float(is_right.float().mean()))
    squared = 2 - 2 * embedding @ embedding.T
    alike = (segment[:, None] == segment) & (subject[:, None] != subject)
    others = ~torch.eye(len(embedding), dtype=torch.bool)
    nan = float("nan")
    return {
        "retrieval": sum(hits) / len(hits) if hits else nan,
        "retrieval_chance": sum(chances) / len(chances) if chances else nan,
        "alignment": float(squared[alike].mean()) if alike.any() else nan,
        "uniformity": float((-2 * squared[others]).exp().mean().log()),
    }
