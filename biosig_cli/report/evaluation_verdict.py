"""What an evaluation comes to, in a few plain sentences computed from its figures."""

from collections.abc import Sequence

from biosig_cli.report.evaluation_results import Answer, Estimate, Evaluation, models_of
from biosig_cli.report.evaluation_words import (
    NOT_DEFINED,
    metric,
    number,
    people,
    quoted,
    reading,
    said,
    span,
)


def verdict(evaluation: Evaluation) -> list[str]:
    """Return what was found, in plain words computed from the figures alone, a paragraph each.

    First the answer that leads, beside chance and the strongest baseline; then other models, or
    probes where a probe leads; last a model that has no figure where people were left out.
    """
    cross = evaluation.cross_validation if evaluation.cross_validation_leads else None
    source = cross or evaluation.data
    answers = cross.answers if cross else evaluation.answers
    if not answers:
        return ["Nothing was evaluated."]
    first, others = answers[0], [answer for answer in answers[1:] if answer.kind == "model"]
    primary = evaluation.primary(first)
    how = f" ({cross.how})" if cross else ""
    found = _found(evaluation, first, source.n_windows, source.n_subjects, how)
    if evaluation.task.primary == "auroc" and primary.interval and primary.interval[0] <= 0.5:
        found += " It is not shown to be better than chance, which is 0.5."
    if baseline := strongest(evaluation, answers, "baseline"):
        who = f"The strongest baseline, {quoted(baseline.name)},"
        found += f" {_compared(evaluation, first, baseline, who)}"
    if first.kind == "probe" and (probe := strongest(evaluation, answers[1:], "probe")):
        others.append(probe)
    compared = " ".join(_compared(evaluation, first, each, quoted(each.name)) for each in others)
    return [each for each in (found, compared, _left_over(evaluation, first)) if each]


def _left_over(evaluation: Evaluation, first: Answer) -> str:
    """Return the figure of a model that was trained once, where people left out in turn lead."""
    own = models_of(evaluation.answers)[:1]
    if not evaluation.cross_validation_leads or not own or own[0].name == first.name:
        return ""
    data = evaluation.data
    how = f" (the {data.split} split; it was not trained anew without each subject)"
    return _found(evaluation, own[0], data.n_windows, data.n_subjects, how)


def strongest(evaluation: Evaluation, answers: Sequence[Answer], kind: str) -> Answer | None:
    """Return the answer of a kind with the best primary figure, None where none has one."""
    known = [
        (value, answer)
        for answer in answers
        if answer.kind == kind and (value := evaluation.primary(answer).value) is not None
    ]
    sign = 1 if evaluation.task.higher_is_better else -1
    return max(known, key=lambda each: sign * each[0])[1] if known else None


def _found(
    evaluation: Evaluation, answer: Answer, n_windows: int, n_subjects: int, how: str
) -> str:
    """Return the figure that decides of one answer, and over whom."""
    task = evaluation.task
    figure = said(task.primary, evaluation.primary(answer), task.unit)
    where = f"{people(n_windows, 'window')} of {people(n_subjects, 'subject')}{how}"
    level = f", one answer per {task.level}" if task.level != "window" else ""
    return (
        f"The {metric(task.primary).name} of {quoted(answer.name)} is {figure} on {where}{level}."
    )


def _compared(evaluation: Evaluation, first: Answer, other: Answer, who: str) -> str:
    """Return how the first answer stands to another."""
    task = evaluation.task
    digits = metric(task.primary).digits
    theirs = evaluation.primary(other)
    if theirs.value is None:
        return f"{who} has no {metric(task.primary).name}: {theirs.why or NOT_DEFINED}."
    reaches = f"{who} reaches {number(theirs.value, digits)}"
    difference = other.difference
    if difference is None or difference.value is None:
        return f"{reaches}; the difference is {said(task.primary, difference or Estimate())}."
    by = f"difference {number(difference.value, digits)}"
    by += f", interval {span(difference, digits)}" if difference.interval else ", no interval"
    it = f"the first {first.kind}" if first.kind == other.kind else f"the {first.kind}"
    words = {
        "better": f"{it} is better ({by})",
        "worse": f"{it} is worse ({by})",
        "open": f"no difference can be shown ({by})",
        "": f"{by}, which shows nothing" + (f": {difference.why}" if difference.why else ""),
    }
    return f"{reaches}: {words[reading(difference)]}."
