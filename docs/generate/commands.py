"""The reference of the command line: every command and flag, from the command line itself."""

import re
from typing import Any

import typer

from biosig_cli.cli import app


def commands_page() -> str:
    """Return the page of all commands, as Markdown."""
    root = typer.main.get_command(app)
    parts = [
        "# Commands",
        "",
        "Made from the command line itself. `biosig COMMAND --help` says the same.",
        "",
        "A flag wins over `--set KEY.SUB=VALUE`, that over the file of `--config`, that over",
        "`BIOSIG_*` variables, that over the default.",
        "",
    ]
    parts += ["## Of every command", "", *_flags(root)]
    for name, command in root.commands.items():
        parts += _command(f"biosig {name}", command, level=2)
    return "\n".join(parts)


def _command(title: str, command: Any, level: int) -> list[str]:
    parts = [f"{'#' * level} {title}", "", _said(command.help or ""), ""]
    parts += _flags(command)
    for name, inner in getattr(command, "commands", {}).items():
        parts += _command(f"{title} {name}", inner, level=level + 1)
    return parts


def _flags(command: Any) -> list[str]:
    """Return the table of what a command takes; nothing where it takes nothing."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    shown = [each for each in options if "--help" not in each.opts and not each.hidden]
    if not arguments and not shown:
        return []
    context = command.context_class(command)
    rows = [_row(each, context) for each in (*arguments, *shown)]
    return ["| flag | takes | what it is |", "|---|---|---|", *rows, ""]


def _row(parameter: Any, context: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.name.upper()] if is_argument else parameter.opts
    takes = "" if is_argument else _takes(parameter, context)
    flags = ", ".join(f"`{name}`" for name in names)
    return f"| {flags} | {takes} | {_cell(parameter.help or '')} |"


def _takes(parameter: Any, context: Any) -> str:
    if parameter.is_flag:
        return ""
    plain = parameter.metavar or parameter.display_type(context).strip("<>")
    return f"`{plain}`"


def _said(text: str) -> str:
    """Return a docstring as paragraphs, without the line breaks and marks of the terminal."""
    paragraphs = re.split(r"\n\s*\n", text.replace("\b", "").strip())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
