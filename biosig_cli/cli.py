"""The command line: the commands in the order of the work, and what an error looks like."""

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from biosig_cli.commands.checking import configs, doctor
from biosig_cli.commands.data import audit, build_windows, prepare_splits
from biosig_cli.commands.results import evaluate, submission
from biosig_cli.commands.runs import runs
from biosig_cli.commands.taking import embed, export, predict
from biosig_cli.commands.training import finetune, inflate, pretrain, smoke

if TYPE_CHECKING:
    from biosig_cli.core.errors import BiosigError

app = typer.Typer(
    name="biosig",
    help="From raw physiological recordings to a pretrained, honestly judged model.",
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from biosig_cli import __version__

        typer.echo(f"biosig {__version__}")
        raise typer.Exit


@app.callback()
def biosig(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, Option("--quiet", help="Say nothing but warnings and errors.")] = False,
    verbose: Annotated[
        bool, Option("--verbose", help="Name every skipped record, and where an error arose.")
    ] = False,
) -> None:
    """From raw physiological recordings to a pretrained, honestly judged model.

    prepare-splits → build-windows → pretrain → inflate → finetune → evaluate; `smoke` checks the
    chain in a minute.

    Example: `biosig prepare-splits --source recordings --output data`

    Example: `biosig --quiet build-windows --split-file data/splits_fasttrack.json`
    """
    from biosig_cli.core.progress import Reporter

    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    Reporter.loudness = "quiet" if quiet else "verbose" if verbose else "normal"


COMMANDS = {
    "Windows from recordings": (prepare_splits, build_windows),
    "Training": (pretrain, inflate, finetune),
    "Is it any good?": (evaluate, audit, submission),
    "Take the model with you": (embed, predict, export),
    "Look and check": (smoke, doctor),
}
"""By panel of the help, in the order of the work."""
ANYWHERE = ("--quiet", "--verbose")
"""Flags of all commands, which may stand after the command, too."""

for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(runs, rich_help_panel="Look and check")
app.add_typer(configs, rich_help_panel="Look and check")


STOPPED = "stopped", "run the same command again: what is finished is kept", 130
STARVED = (
    "there is not enough memory",
    "end other programs, or take less at a time (--batch-size, --workers, --num-workers), and run "
    "the same command again: what is finished is kept",
    3,
)
NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DataLoader worker (pid")
"""How torch says it, or that the system ended a process of its, most likely for that reason; of the
memory of a GPU, the training speaks itself."""


def run(arguments: Sequence[str]) -> int:
    """Run the command in `arguments` and return its exit code."""
    from biosig_cli.core.older_forms import older_form

    first = [each for each in arguments if each in ANYWHERE]
    rest = [each for each in arguments if each not in ANYWHERE]
    try:
        code = typer.main.get_command(app).main(
            [*first, *rest] if rest else ["--help"], prog_name="biosig", standalone_mode=False
        )
    except typer.TyperException as error:
        hint = older_form(arguments) or "`biosig COMMAND --help` lists what a command takes"
        return _fail(error.format_message(), hint, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(*STOPPED)
    except Exception as error:
        if _was_stopped(error):
            return _fail(*STOPPED)
        if not _is_ours(error):
            if isinstance(error, MemoryError) or any(said in str(error) for said in NO_MEMORY):
                return _fail(*STARVED)
            raise
        if "--verbose" in first:
            traceback.print_exc()
        return _fail(str(error), error.hint, error.exit_code)
    return code if isinstance(code, int) else 0


def _was_stopped(error: BaseException | None) -> bool:
    """Return whether an error comes of a Ctrl-C that a library took for a failure of its own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


if TYPE_CHECKING:
    from typing import TypeGuard


def _is_ours(error: Exception) -> "TypeGuard[BiosigError]":
    from biosig_cli.core.errors import BiosigError

    return isinstance(error, BiosigError)


def _fail(message: str, hint: str, code: int) -> int:
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    return code


def main() -> None:
    """Entry point of `biosig`."""
    # A batch system stops a job as Ctrl-C does: files that are half written are taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command began
        code = _fail(*STOPPED)
    sys.exit(code)
