"""Every error message of ours, read out of the code: where `raise` stands, what it says."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from biosig_cli.core import errors

RULES, WARNINGS = "ValueError", "warn"
"""What a setting's own rule raises, which becomes a ConfigError; and what is said, not raised."""

PACKAGE = Path(errors.__file__).parents[1]
UNSAID = "(the problems that were found, a line each)"
"""Stands for a message that is put together elsewhere."""


@dataclass(frozen=True)
class Message:
    """One place at which an error of ours is raised, or a warning given.

    Attributes:
        error: Name of its class, or `RULES` or `WARNINGS`.
        text: What it says; what differs from time to time stands in braces.
        hint: What it says to do.
        where: The file, from the package's folder.
        line: Of the `raise`.
    """

    error: str
    text: str
    hint: str
    where: str
    line: int


def kinds() -> dict[str, type[errors.BiosigError]]:
    """Return our classes of errors by name, in the order of the tree."""
    return {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.BiosigError)
    }


@cache
def messages() -> list[Message]:
    """Return every error that the package makes, in the order of its files."""
    return [each for path in sorted(PACKAGE.rglob("*.py")) for each in _of_file(path)]


def messages_page() -> str:
    """Return the page of all messages, by exit code, as Markdown."""
    parts = [
        "# Every error message",
        "",
        "Made from the code. Braces stand for what differs: a name, a number, a path. Search the",
        "page for a few words of what you were told; the line after a message is what to do. What",
        "is in brackets is not always said.",
        "",
        "What is wrong in a config file, or after `--set`, begins with the path of the setting:",
        "`plan.epocs: unknown key, did you mean plan.epochs?`, `plan.epochs: Input should be",
        "greater than 0, found -1`, `stores: needed, and not given`. A command or flag that is not",
        "there is answered by the closest one that is.",
        "",
    ]
    found = messages()
    for name, cls in kinds().items():
        of_kind = {(each.text, each.hint): each for each in found if each.error == name}
        if not of_kind:
            continue
        about = " ".join((cls.__doc__ or "").split())
        parts += [f"## Exit code {cls.exit_code}: {name}", "", about, ""]
        for text, hint in sorted(of_kind):
            parts += [f"- `{_code(text)}`" + (f"<br>→ `{_code(hint)}`" if hint else ""), ""]
    for name, title, about in (
        (
            RULES,
            "Exit code 2: settings that contradict each other",
            "After the path of the setting.",
        ),
        (WARNINGS, "Warnings", "Said in passing, after `warning:`; the exit code stays 0."),
    ):
        parts += [f"## {title}", "", about, ""]
        for text in sorted({each.text for each in found if each.error == name}):
            parts += [f"- `{_code(text)}`", ""]
    return "\n".join(parts)


def _of_file(path: Path) -> Iterator[Message]:
    known = {*kinds(), RULES}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = _name(node.func)
        if name in known or name == WARNINGS:
            hints = [word.value for word in node.keywords if word.arg == "hint"]
            text, hint = _text(node.args[0]), _text(hints[0]) if hints else ""
            where = path.relative_to(PACKAGE).as_posix()
            yield Message(name, text or UNSAID, hint, where, node.lineno)


def _name(called: ast.expr) -> str:
    """Return the name of a class that is called, or `warn` of a reporter's method."""
    if isinstance(called, ast.Name):
        return called.id
    return WARNINGS if isinstance(called, ast.Attribute) and called.attr == WARNINGS else ""


def _text(node: ast.expr) -> str:
    """Return what an expression says, with the code of what differs in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        both = [each for each in (_text(node.body), _text(node.orelse)) if each]
        return " / ".join(both) if len(both) > 1 else f"[{''.join(both)}]"
    return "{" + ast.unparse(node) + "}"


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
