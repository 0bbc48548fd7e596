"""What a command says: live with rich on a terminal, plain lines in a log, nothing when silent."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

PLAIN_INTERVAL_S = 15.0
"""In a log, a progress line at most this often."""


class Advance(Protocol):
    """Tell the progress line how far the work has come."""

    def __call__(self, n_done: int = 1, *, note: str = "") -> None:
        """Add `n_done` to the work done and show `note` beside it."""


class Reporter:
    """Says what happens; services speak through it, and never print."""

    def __init__(self, *, silent: bool = False) -> None:
        self.console = Console(quiet=silent, highlight=False, soft_wrap=True)
        self.is_live = self.console.is_terminal and not silent

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(escape(text))

    def fact(self, name: str, value: object, why: str = "") -> None:
        """Print a name, its value, and in grey why it is so."""
        reason = f"  [dim]{escape(why)}[/dim]" if why else ""
        self.console.print(f"[bold]{escape(name):<12}[/bold] {escape(str(value))}{reason}")

    def warn(self, text: str) -> None:
        """Print a line that should not be missed."""
        self.console.print(f"[yellow]warning:[/yellow] {escape(text)}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; the first column is left-aligned, the others are figures."""
        table = Table(title=title or None, title_justify="left")
        for position, column in enumerate(columns):
            table.add_column(column, justify="right" if position else "left")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self.console.print(table)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Show one line of progress over `total` units of work while the context lasts."""
        if self.is_live:
            with self._live() as progress:
                task = progress.add_task(what, total=total, note="")

                def advance(n_done: int = 1, *, note: str = "") -> None:
                    progress.update(task, advance=n_done, note=note)

                yield advance
        else:
            yield _PlainProgress(self, what, total)

    def _live(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )


class _PlainProgress:
    """Progress for logs: a line now and then, with the time that is left."""

    def __init__(self, reporter: Reporter, what: str, total: int) -> None:
        self.reporter, self.what, self.total = reporter, what, total
        self.n_done, self.start_s, self.last_s = 0, time.monotonic(), time.monotonic()

    def __call__(self, n_done: int = 1, *, note: str = "") -> None:
        self.n_done += n_done
        now_s = time.monotonic()
        if now_s - self.last_s < PLAIN_INTERVAL_S or self.n_done >= self.total:
            return
        self.last_s = now_s
        left_s = (now_s - self.start_s) / self.n_done * (self.total - self.n_done)
        line = f"{self.what} {self.n_done}/{self.total}, {duration(left_s)} left"
        self.reporter.say(f"{line}  {note}".rstrip())


def duration(seconds: float) -> str:
    """Return a duration as people say it: `48 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
