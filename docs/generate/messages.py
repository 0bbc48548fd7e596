"""Every error message of ours, read out of the code: where `raise` stands, what it says."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from biosig_cli.core import errors

PACKAGE = Path(errors.__file__).parents[1]
UNSAID = "(the problems that were found, a line each)"
"""Stands for a message that is put together elsewhere."""


@dataclass(frozen=True)
class Message:
    """One place at which an error of ours is raised.

    Attributes:
        error: Name of its class.
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


def messages() -> list[Message]:
    """Return every error that the package makes, in the order of its files."""
    return [each for path in sorted(PACKAGE.rglob("*.py")) for each in _of_file(path)]


def messages_page() -> str:
    """Return the page of all messages, by exit code, as Markdown."""
    parts = [
        "# Every error message",
        "",
        "Made from the code. Braces stand for what differs: a name, a number, a path. Search the page",
        "for a few words of what you were told; the line after a message is what to do.",
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
    return "\n".join(parts)


def _of_file(path: Path) -> Iterator[Message]:
    ours = kinds()
    where = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if is_call and node.func.id in ours and node.args:  # type: ignore[attr-defined]
            call: ast.Call = node  # type: ignore[assignment]
            hints = [word.value for word in call.keywords if word.arg == "hint"]
            yield Message(
                node.func.id,  # type: ignore[attr-defined]
                _text(call.args[0]) or UNSAID,
                _text(hints[0]) if hints else "",
                where,
                node.lineno,  # type: ignore[attr-defined]
            )


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
        return " / ".join(filter(None, (_text(node.body), _text(node.orelse))))
    return "{" + ast.unparse(node) + "}"


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
