"""What the documentation tells people to type, for tests that hold it against the command line."""

import json
import re
import shlex
from pathlib import Path

import typer

from biosig_cli.cli import ANYWHERE, app

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(biosig [^`]+)`")
COMMAND = "biosig "


def lines_of(text):
    """Return the command lines of `biosig` in a Markdown text: those in fences, those in ticks."""
    found = []
    for fence in FENCE.finditer(text):
        whole = re.sub(r"\\\n\s*", " ", fence[3])
        found += [each.strip() for each in whole.splitlines()]
    found += [" ".join(each.split()) for each in INLINE.findall(FENCE.sub("", text))]
    found = [part.strip() for line in found for part in line.split("&&")]
    bare = [re.sub(r"\s+#.*", "", line.removeprefix("$ ")) for line in found]
    return [line for line in bare if line.startswith(COMMAND)]


def lines_of_notebook(path):
    """Return the command lines in a notebook's cells, with NAME for what a cell fills in."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for call in (
        call for cell in code for call in re.findall(r"biosig\(\s*(f?\".*?)\)", cell, re.S)
    ):
        said = "".join(re.findall(r'"([^"\n]*)"', call))
        found.append(COMMAND + re.sub(r"\{.*?\}", "NAME", said))
    return found


def wrong_in(line):
    """Return what the command line does not know of a line: a command, a flag; empty if nothing."""
    words = shlex.split(line.replace("...", ""))[1:]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands") and words and words[0][0] != "-" and words[0] != "COMMAND":
        # `runs FOLDER` is `runs list FOLDER`.
        if "list" not in command.commands:
            return f"no command {words[0]}"
        command = command.commands["list"]
    flags = {name for parameter in command.params for name in parameter.opts} | {*ANYWHERE}
    used = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}
    unknown = sorted(used - flags)
    return f"no flag {', '.join(unknown)}" if unknown and words[0] != "COMMAND" else ""
