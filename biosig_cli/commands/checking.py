"""Commands that look at settings and at the machine; they change nothing.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from biosig_cli.commands.printing import print_json
from biosig_cli.flags import Json, recipes

configs = typer.Typer(
    name="configs",
    help="The shipped recipes: `biosig configs ls`, `biosig configs show NAME`.",
    no_args_is_help=True,
)
File = Annotated[
    str,
    Argument(metavar="FILE|NAME", help="A YAML file, or a shipped config.", autocompletion=recipes),
]


@configs.command()
def ls(as_json: Json = False) -> None:
    """List the shipped recipes, one line each.

    Example: `biosig configs ls`

    Example: `biosig configs ls --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.configs import list_configs

    found = list_configs(Reporter(silent=as_json))
    if as_json:
        print_json(found)


@configs.command()
def show(file: File, as_json: Json = False) -> None:
    """Show every value that a file comes to, and where it is from.

    Example: `biosig configs show ssl_pretrain`

    Example: `biosig configs show artifacts/pretrain/training_config.json --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services import configs

    if as_json:
        print_json(configs.as_json(file))
    else:
        configs.show_config(file, Reporter())


@configs.command()
def copy(
    file: File,
    output: Annotated[Path | None, Option(help="[default: NAME.yaml in this folder]")] = None,
) -> None:
    """Copy a shipped recipe, to change it.

    Example: `biosig configs copy but_ppg`

    Example: `biosig configs copy but_ppg --output mine.yaml`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.configs import copy_config

    copy_config(file, output, Reporter())


@configs.command()
def validate(file: File, as_json: Json = False) -> None:
    """Check a file: every unknown key and wrong value is named, with what was meant.

    Example: `biosig configs validate mine.yaml`

    Example: `biosig configs validate eeg --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.configs import validate_config

    stated = validate_config(file, Reporter(silent=as_json))
    if as_json:
        print_json({"file": file, "valid": True, "values_stated": stated})


@configs.command()
def schema() -> None:
    """Print the JSON schema of config files, so that an editor completes and checks them.

    Example: `biosig configs schema > biosig.schema.json`

    Example: `biosig configs schema | less`
    """
    from biosig_cli.services.configs import schema

    typer.echo(json.dumps(schema(), indent=2))


@configs.command()
def diff(file: File, other: File, as_json: Json = False) -> None:
    """Show the values in which two files differ, defaults filled in.

    Example: `biosig configs diff ssl_pretrain mine.yaml`

    Example: `biosig configs diff windows windows_1024 --json`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.configs import diff_configs

    found = diff_configs(file, other, Reporter(silent=as_json))
    if as_json:
        keys = ("command", "setting", "first", "second")
        print_json([dict(zip(keys, each, strict=True)) for each in found])


def doctor(
    models: Annotated[
        bool, Option("--models", help="Build each family of models and take one step.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look whether this machine is fit for the work, and say what to do where it is not.

    Example: `biosig doctor`

    Example: `biosig doctor --models`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.doctor import doctor

    if models and as_json:
        raise typer.BadParameter("--json is of the machine alone: leave --models out")
    reporter = Reporter()
    doctor(reporter, as_json=as_json)
    if models:
        from biosig_cli.services.doctor_models import try_models

        try_models(reporter)
