"""A file imports its own room and the floors below; the rule is small, so it is checked."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "biosig_cli"
FLOORS = {
    "core": 1,
    "engine": 2,
    "signal": 2,
    "report": 2,
    "models": 3,
    "data": 3,
    "objectives": 4,
    "tasks": 4,
    "catalog": 5,
    "services": 6,
    "flags": 6,
    "commands": 7,
    "cli": 8,
    "__main__": 9,
}
TORCH_IN_DATA = {"batch.py", "loader.py"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_or_stay_in_the_room(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "biosig_cli" and rest:
            other = rest.partition(".")[0]
            # Encoders and batches meet in an objective; neither knows the other.
            assert other == own or FLOORS[other] < FLOORS[own], f"{own} imports {name}"


def test_only_one_file_imports_granite_tsfm() -> None:
    users = [path for path in FILES if any(n.startswith("tsfm_public") for n in imports(path))]
    assert [str(path.relative_to(PACKAGE)) for path in users] == ["models/ttm.py"]


def test_signal_and_data_know_no_torch() -> None:
    users = {
        path.name
        for path in FILES
        if room(path) in ("signal", "data")
        and any(n.split(".")[0] == "torch" for n in imports(path))
    }
    assert users <= TORCH_IN_DATA


def test_every_module_says_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_no_file_grows_past_comfort() -> None:
    long = {
        path.name: n for path in FILES if (n := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}
