"""`biosig runs` and its two questions about runs: how did this one go, and what tells them apart.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument
from typer.core import TyperGroup

from biosig_cli.commands.printing import print_json
from biosig_cli.flags import Json


class Listing(TyperGroup):
    """A group of commands that lists where none of them is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before anything that is no command and asks for no help."""
        # Not while a shell completes: it asks for the commands.
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


runs = typer.Typer(name="runs", cls=Listing)


@runs.callback()
def about() -> None:
    """List runs, show how one went, or compare several: `biosig runs`, `biosig runs show RUN`.

    Example: `biosig runs artifacts`

    Example: `biosig runs compare artifacts/pretrain artifacts/longer`
    """


@runs.command("list")
def list_(
    folder: Annotated[Path, Argument(help="Where runs lie, at any depth.")] = Path("artifacts"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: state, best value, duration, and how to go on.

    Example: `biosig runs list artifacts`

    Example: `biosig runs list artifacts --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import list_runs

    runs = list_runs(folder, Reporter(silent=as_json))
    if as_json:
        print_json([run.plain() for run in runs])


@runs.command()
def show(
    run: Annotated[Path, Argument(metavar="RUN", help="A run folder.")], as_json: Json = False
) -> None:
    """Show a run: curves, windows, parents, and the settings that are not the default.

    Example: `biosig runs show artifacts/pretrain`

    Example: `biosig runs show artifacts/finetune --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import run_as_json, show_run

    if as_json:
        print_json(run_as_json(run))
    else:
        show_run(run, Reporter())


@runs.command()
def compare(
    run: Annotated[Path, Argument(metavar="RUN", help="A run folder.")],
    others: Annotated[list[Path], Argument(metavar="RUN...", help="Those to compare it with.")],
    as_json: Json = False,
) -> None:
    """Compare runs: the settings that differ, and the results side by side.

    Example: `biosig runs compare artifacts/pretrain artifacts/longer`

    Example: `biosig runs compare artifacts/one artifacts/two artifacts/three --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.runs import compare_runs, comparison_as_json

    if as_json:
        print_json(comparison_as_json([run, *others]))
    else:
        compare_runs([run, *others], Reporter())
