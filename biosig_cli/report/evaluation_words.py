"""How the figures of an evaluation are written and read: names, roundings and the verdict."""

from dataclasses import dataclass

from biosig_cli.report.evaluation_results import (
    Estimate,
    Task,
)
from biosig_cli.report.html import count

MINUS = "\N{MINUS SIGN}"
COVERAGE = {2: 47, 4: 83, 8: 88, 20: 91}
"""How often a 95 % bootstrap interval over so many subjects holds the truth, in %; simulated."""
NOT_DEFINED = "not defined"


@dataclass(frozen=True)
class Metric:
    """How a figure is called and what it says."""

    name: str
    about: str
    digits: int = 2
    has_unit: bool = False


METRICS = {
    "auroc": Metric(
        "AUROC",
        "how often a window of the positive class gets a higher score than one of the other class; "
        "0.5 is a coin, 1 is perfect",
    ),
    "auprc": Metric(
        "AUPRC",
        "area under precision over recall; a coin reaches the share of the positive class",
    ),
    "accuracy": Metric("accuracy", "share answered correctly; compare it with the majority"),
    "majority": Metric("majority", "share of the most frequent class: the accuracy of no model"),
    "balanced_accuracy": Metric(
        "balanced accuracy", "mean over the classes of the share found; one class for all gets 0.5"
    ),
    "f1": Metric("F1", "harmonic mean of precision and sensitivity"),
    "sensitivity": Metric("sensitivity", "share of the positive class that is found"),
    "specificity": Metric("specificity", "share of the other class that is left alone"),
    "mcc": Metric("MCC", "correlation of the answer with the truth; 0 for one class for all"),
    "brier": Metric("Brier", "mean squared error of the probability; 0 is perfect", 3),
    "ece": Metric("ECE", "mean gap between the probability said and the share observed", 3),
    "mae": Metric("MAE", "mean absolute error", has_unit=True),
    "rmse": Metric("RMSE", "root of the mean squared error", has_unit=True),
    "bias": Metric("bias", "mean of predicted minus true", has_unit=True),
    "loa_low": Metric("lower limit", "lower 95 % limit of agreement", has_unit=True),
    "loa_high": Metric("upper limit", "upper 95 % limit of agreement", has_unit=True),
    "r": Metric("r", "correlation of predicted and true"),
    "r2": Metric("R²", "share of the variance explained; the mean of the targets gets 0"),
    "nrmse": Metric("NRMSE", "RMSE over the standard deviation of the targets; the mean gets 1"),
    "aami": Metric("AAMI", "mean error within 5 and standard deviation within 8 mmHg"),
    "bhs": Metric("BHS", "grade by the shares of errors within 5, 10 and 15 mmHg"),
    "mse": Metric("MSE", "mean squared error", 3),
    "correlation": Metric("correlation", "of the samples reconstructed and true", 3),
    "stretch_correlation": Metric(
        "correlation, 30 s",
        "median over the half minutes of a window, so that one artefact does not decide",
        3,
    ),
    "ssim": Metric("SSIM", "how alike the shapes are within 11 samples; 1 is the same", 3),
    "spectral_error": Metric(
        "spectral error",
        "of the magnitudes and phases of waves; drawing nothing scores about 1",
        3,
    ),
    "rate_error_bpm": Metric(
        "heart rate error (bpm)",
        "between the beats counted in both; median over the half minutes of a window",
    ),
}


def metric(key: str) -> Metric:
    """Return how the metric `key` is called; one that is not known is called by its key."""
    return METRICS.get(key, Metric(key.replace("_", " "), ""))


def titled(key: str, unit: str) -> str:
    """Return the metric's name, with its unit where it has one."""
    found = metric(key)
    return f"{found.name} ({unit})" if found.has_unit and unit else found.name


def number(value: float, digits: int = 2) -> str:
    """Return a figure as people read it: `0.93`, `−12.4`, with more digits where they are needed.

    `1.00` and `0.00` are written of figures that are so to four digits, and of no others.
    """
    size = abs(value)
    digits = max(digits - (size >= 10) - (size >= 100), 0)
    shown = f"{size:.{digits}f}"
    if float(shown) in (0.0, 1.0) and f"{size:.4f}" != f"{float(shown):.4f}":
        while float(shown) in (0.0, 1.0):
            digits += 1
            shown = f"{size:.{digits}f}"
    return f"{MINUS if value < 0 and float(shown) else ''}{shown}"


def span(estimate: Estimate, digits: int = 2) -> str:
    """Return the interval: `0.88 to 0.96`; empty where there is none."""
    if estimate.interval is None:
        return ""
    low, high = estimate.interval
    return f"{number(low, digits)} to {number(high, digits)}"


def said(key: str, estimate: Estimate, unit: str = "") -> str:
    """Return a figure in a sentence: `0.93 (95 % interval 0.88 to 0.96)`."""
    found = metric(key)
    if estimate.value is None:
        return f"{NOT_DEFINED} ({estimate.why})" if estimate.why else NOT_DEFINED
    value = number(estimate.value, found.digits) + (f" {unit}" if found.has_unit and unit else "")
    interval = span(estimate, found.digits)
    return f"{value} (95 % interval {interval})" if interval else f"{value} (no interval)"


def people(number_of: int, noun: str) -> str:
    """Return a count with its noun: `1 subject`, `8 subjects`."""
    return f"{count(number_of)} {noun}{'' if number_of == 1 else 's'}"


def quoted(name: str) -> str:
    """Return a name as it stands in a sentence."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{name}\N{RIGHT DOUBLE QUOTATION MARK}"


def reading(difference: Estimate | None) -> str:
    """Return what a difference shows of the first answer: `better`, `worse` or `open`.

    Empty where there is no interval.
    """
    if difference is None or difference.interval is None:
        return ""
    low, high = difference.interval
    if low <= 0 <= high:
        return "open"
    return "better" if low > 0 else "worse"


def few_subjects(n_subjects: int) -> str:
    """Return what so few subjects do to the intervals."""
    if n_subjects == 0:
        return "The windows do not say whose they are, so that there are no intervals."
    if n_subjects == 1:
        return "With one subject there are no intervals: nothing is known of anyone else."
    known = [f"{people(n, 'subject')} {part} %" for n, part in COVERAGE.items()]
    return (
        f"Intervals over {people(n_subjects, 'subject')} are too narrow: in a simulation a 95 % "
        f"bootstrap interval held the truth less often than it says ({', '.join(known)})."
    )


def question(task: Task) -> str:
    """Return what was asked of the model."""
    if task.kind == "regression":
        return f"{task.label} ({task.unit})" if task.unit else task.label
    return f"{task.label}: {' or '.join(task.classes)}" if task.classes else task.label
