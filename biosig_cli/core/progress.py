"""What a command says: live with rich on a terminal, plain lines in a log, nothing when silent."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, Protocol, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")
Loudness = Literal["quiet", "normal", "verbose"]
BARS = "▁▂▃▄▅▆▇█"
PLAIN_INTERVAL_S = 15.0
"""In a log, a progress line at most this often."""


class Advance(Protocol):
    """Tell the display how far the work has come."""

    def __call__(self, n_done: int = 1, *, note: str = "", trail: Sequence[float] = ()) -> None:
        """Add `n_done` to the work done.

        Args:
            n_done: Units of work.
            note: What there is to know of it now.
            trail: The course so far of the figure that the note begins with; a terminal draws it.
        """


class Reporter:
    """Says what happens; services speak through it, and never print.

    Attributes:
        loudness: Of all that are made; `--quiet` and `--verbose` set it.
    """

    loudness: ClassVar[Loudness] = "normal"

    def __init__(self, *, silent: bool = False) -> None:
        is_quiet = silent or self.loudness == "quiet"
        self.console = Console(quiet=is_quiet, highlight=False, soft_wrap=True)
        self.warnings = self.console
        if is_quiet and not silent:
            # Apart from a result, which may be read by another program.
            self.warnings = Console(stderr=True, highlight=False, soft_wrap=True)
        self.is_live = self.console.is_terminal and not is_quiet

    def first(self, n: int, of: Sequence[Item]) -> Sequence[Item]:
        """Return those of many that are named one by one: all with `--verbose`, else the first."""
        return of if self.loudness == "verbose" else of[:n]

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(escape(text))

    def fact(self, name: str, value: object, why: str = "") -> None:
        """Print a name, its value, and in grey why it is so."""
        reason = f"  [dim]{escape(why)}[/dim]" if why else ""
        self.console.print(f"[bold]{escape(name):<12}[/bold] {escape(str(value))}{reason}")

    def warn(self, text: str) -> None:
        """Print a line that should not be missed."""
        self.warnings.print(f"[yellow]warning:[/yellow] {escape(text)}")

    def show(self, drawing: RenderableType) -> None:
        """Print something that is drawn, such as a plot; a log gets it without colours."""
        self.console.print(drawing)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; the first column is left-aligned, the others are figures."""
        table = Table(title=title or None, title_justify="left")
        for position, column in enumerate(columns):
            table.add_column(column, justify="right" if position else "left")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self.console.print(table)

    @contextmanager
    def progress(
        self, what: str, total: int, *, n_before: int = 0, part: str = "", part_size: int = 0
    ) -> Iterator[Advance]:
        """Show how far work has come while the context lasts.

        Args:
            what: What the work is called.
            total: Its units.
            n_before: Those that were done before; they say nothing of the time that is left.
            part: What its parts are called, such as epochs, if it has any.
            part_size: Units in a part.
        """
        course = _Course(what, total, n_before, part, part_size)
        if self.is_live:
            display = _LiveProgress(course)
            with Live(display, console=self.console, transient=True, vertical_overflow="visible"):
                yield display
        else:
            yield _PlainProgress(self, course)


class _Course:
    """How far work has come, and how long the rest will take."""

    def __init__(self, what: str, total: int, n_before: int, part: str, part_size: int) -> None:
        self.what, self.total, self.part = what, total, part
        self.part_size = part_size
        self.n_before = self.n_done = n_before
        self.start_s = time.monotonic()

    @property
    def part_name(self) -> str:
        """The part that the work is in: `epoch 3/20`; empty where it has no parts."""
        if not self.part_size:
            return ""
        n_parts = -(-self.total // self.part_size)
        return f"{self.part} {min(self.n_done // self.part_size + 1, n_parts)}/{n_parts}"

    @property
    def n_done_of_part(self) -> int:
        """Units done of the current part; of the last one when all is done."""
        is_over = self.n_done >= self.total
        return self.part_size if is_over else self.n_done % self.part_size

    @property
    def left(self) -> str:
        """How long the rest will take, at the speed so far; empty before there is one."""
        n_now = self.n_done - self.n_before
        if n_now <= 0:
            return ""
        per_unit_s = (time.monotonic() - self.start_s) / n_now
        return f"{duration(per_unit_s * (self.total - self.n_done))} left"


class _LiveProgress:
    """Progress on a terminal: a bar for the part, one for the whole, and a line of facts."""

    def __init__(self, course: _Course) -> None:
        self.course = course
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("[cyan]{task.fields[left]}"),
            auto_refresh=False,
        )
        if course.part_size:
            self.part = self.bars.add_task("", total=course.part_size, left="")
        self.whole = self.bars.add_task(course.what, total=course.total, left="")
        self.note, self.trail = "", ""
        self._move()

    def __call__(self, n_done: int = 1, *, note: str = "", trail: Sequence[float] = ()) -> None:
        self.course.n_done += n_done
        self.note, self.trail = note, sparkline(trail)
        self._move()

    def _move(self) -> None:
        course = self.course
        self.bars.update(self.whole, completed=course.n_done, left=course.left)
        if course.part_size:
            name, n_done = course.part_name, course.n_done_of_part
            self.bars.update(self.part, description=name, completed=n_done)

    def __rich__(self) -> RenderableType:
        if not self.note:
            return self.bars
        # Rich cuts what does not fit unless the text itself says that it may be wrapped.
        facts = Text(no_wrap=False, overflow="fold")
        facts.append(f"{self.trail} " if self.trail else "", "cyan")
        return Group(self.bars, facts.append(self.note, "dim"))


class _PlainProgress:
    """Progress for logs: a line now and then, with the time that is left."""

    def __init__(self, reporter: Reporter, course: _Course) -> None:
        self.reporter, self.course = reporter, course
        self.last_s = course.start_s

    def __call__(self, n_done: int = 1, *, note: str = "", trail: Sequence[float] = ()) -> None:
        course, now_s = self.course, time.monotonic()
        course.n_done += n_done
        if now_s - self.last_s < PLAIN_INTERVAL_S or course.n_done >= course.total:
            return
        self.last_s = now_s
        place = f"{course.what} {course.n_done}/{course.total}"
        line = ", ".join(filter(None, (place, course.part_name, course.left)))
        self.reporter.say(f"{line}  {note}".rstrip())


def sparkline(values: Sequence[float]) -> str:
    """Return values as bars of one character each; what is no number is a gap."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    steps = [(value - low) / span if span else 0.0 for value in values]
    return "".join(
        BARS[round(step * (len(BARS) - 1))] if math.isfinite(step) else " " for step in steps
    )


def duration(seconds: float) -> str:
    """Return a duration as people say it: `48 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
