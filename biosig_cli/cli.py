"""The command line: the commands in the order of the work, and what an error looks like."""

import signal
import sys
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
    add_completion=False,
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
) -> None:
    """From raw physiological recordings to a pretrained, honestly judged model.

    prepare-splits → build-windows → pretrain → inflate → finetune → evaluate; `smoke` checks the
    chain in a minute.
    """


COMMANDS = (
    *(prepare_splits, build_windows, pretrain, inflate, finetune, evaluate),
    *(embed, predict, export, submission, audit, smoke, doctor),
)
"""In the order of the work."""

for command in COMMANDS:
    app.command()(command)
app.add_typer(runs)
app.add_typer(configs)


def run(arguments: Sequence[str]) -> int:
    """Run the command in `arguments` and return its exit code."""
    from biosig_cli.core.older_forms import older_form

    try:
        code = typer.main.get_command(app).main(
            list(arguments) or ["--help"], prog_name="biosig", standalone_mode=False
        )
    except typer.TyperException as error:
        hint = older_form(arguments) or "`biosig COMMAND --help` lists what a command takes"
        return _fail(error.format_message(), hint, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", "run the same command again: what is finished is kept", 130)
    except Exception as error:
        if not _is_ours(error):
            raise
        return _fail(str(error), error.hint, error.exit_code)
    return code if isinstance(code, int) else 0


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
    sys.exit(run(sys.argv[1:]))
