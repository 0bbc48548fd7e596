"""`biosig runs` and its two questions about runs: how did this one go, and what tells them apart.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument
from typer.core import TyperGroup


class Listing(TyperGroup):
    """A group of commands that lists where none of them is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before anything that is no command and asks for no help."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


runs = typer.Typer(name="runs", cls=Listing)


@runs.callback()
def about() -> None:
    """List runs, show how one went, or compare several: `biosig runs`, `biosig runs show RUN`.

    Example: `biosig runs compare artifacts/pretrain artifacts/longer`
    """


@runs.command("list")
def list_(
    folder: Annotated[Path, Argument(help="Where runs lie, at any depth.")] = Path("artifacts"),
) -> None:
    """List the runs in a folder: state, best value, duration, and how to go on."""
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import list_runs

    list_runs(folder, Reporter())


@runs.command()
def show(run: Annotated[Path, Argument(metavar="RUN", help="A run folder.")]) -> None:
    """Show a run: curves, windows, parents, and the settings that are not the default."""
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import show_run

    show_run(run, Reporter())


@runs.command()
def compare(
    run: Annotated[Path, Argument(metavar="RUN", help="A run folder.")],
    others: Annotated[list[Path], Argument(metavar="RUN...", help="Those to compare it with.")],
) -> None:
    """Compare runs: the settings that differ, and the results side by side."""
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import compare_runs

    compare_runs([run, *others], Reporter())
