"""Changes one small thing in a module at a time, and asks whether a test notices.

    python -m tests.faults.mutants signal/resample data/splits --at-most 40

A mutant that no test notices is told by its line; each was looked at, docs/reliability.md says
what became of them. A process that has the libraries loaded already is copied for each mutant.
"""

import argparse
import ast
import contextlib
import gc
import importlib.machinery
import importlib.util
import io
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = {
    "signal/filters": ("tests/signal/test_filters.py",),
    "signal/resample": ("tests/signal/test_resample.py",),
    "signal/normalize": ("tests/signal/test_normalize.py",),
    "signal/quality": ("tests/signal/test_quality.py",),
    "signal/measures": ("tests/signal/test_measures.py", "tests/signal/test_quality.py"),
    "signal/beats": ("tests/signal/test_beats.py", "tests/signal/test_quality.py"),
    "signal/spec": ("tests/signal/test_spec.py",),
    "signal/denoise": ("tests/signal/test_denoise.py", "tests/data/test_targets.py"),
    "signal/fingerprint": ("tests/signal/test_fingerprint.py", "tests/data/test_duplicates.py"),
    "signal/electrodes": ("tests/signal/test_electrodes.py",),
    "signal/splines": ("tests/signal/test_splines.py", "tests/models/test_adapters.py"),
    "signal/breaths": ("tests/signal/test_breaths.py",),
    "data/splits": ("tests/data/test_splits.py",),
    "data/audit": ("tests/data/test_audit.py",),
    "tasks/metrics": ("tests/tasks/test_metrics.py",),
    "models/inflate": ("tests/models/test_inflate.py",),
    "core/bounds": ("tests/core/test_bounds.py", "tests/faults/test_hostile.py"),
    "data/unpack": ("tests/data/test_unpack.py", "tests/faults/test_hostile.py"),
}
"""By module, the tests that answer for it."""
LIMIT_S = 180
SWAPS: dict[type, type] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot},
    **{ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div},
    **{ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or},
    **{ast.Or: ast.And, ast.USub: ast.UAdd},
}


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Yield the line of each change, what it is, and the changed module."""
    for place, node in enumerate(ast.walk(tree)):
        for number, words in enumerate(_changes(node)):
            changed = deepcopy(tree)
            twin = next(each for at, each in enumerate(ast.walk(changed)) if at == place)
            before = ast.unparse(twin)
            _change(twin, number)
            after = ast.unparse(twin)
            if before != after:
                said = f"{words}: {before[:60]} -> {after[:60]}".replace("\n", " ")
                yield getattr(node, "lineno", 0), said, ast.fix_missing_locations(changed)


def _changes(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Compare | ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp):
        operator = node.ops[0] if isinstance(node, ast.Compare) else node.op
        return ["operator"] if type(operator) in SWAPS else []
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return ["constant"]
        return ["constant"] if isinstance(node.value, int | float) else []
    if isinstance(node, ast.If | ast.IfExp):
        return ["condition"]
    return ["result"] if isinstance(node, ast.Return) and node.value is not None else []


def _change(node: Any, number: int) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    else:
        node.value = ast.Constant(None)


class Mutated(importlib.machinery.SourceFileLoader):
    """Loads a module from a changed tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, name: str) -> Any:
        return compile(self._tree, self.path, "exec")


class Finder:
    """Finds the mutated module before the real one."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        loader = Mutated(name, str(self.path), self.tree)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


def is_noticed(
    module: str, tree: ast.Module, tests: Sequence[str], libraries: Path | None = None
) -> str:
    """Run the tests on a mutant in a copy of this process; say whether one failed, or none.

    What the tests have imported in the end is listed in the file `libraries`.
    """
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        name = f"biosig_cli.{module.replace('/', '.')}"
        sys.meta_path.insert(0, Finder(name, ROOT / "biosig_cli" / f"{module}.py", tree))
        import pytest

        code = 1
        try:
            quiet = io.StringIO()
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
            if libraries is not None:
                libraries.write_text("\n".join(sys.modules), "utf-8")
        finally:  # nothing of the parent's goes on here
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "too slow"
    # Whatever else it ends with: the tests passed before, and the mutant is the only change.
    return "noticed" if os.waitstatus_to_exitcode(status) else "survived"


def load(libraries: Path) -> None:
    """Import what is listed once for all copies, but nothing of the package or its tests."""
    for name in libraries.read_text("utf-8").splitlines():
        if name.partition(".")[0] not in ("biosig_cli", "tests", "__main__"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    libraries.unlink()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--at-most", type=int, default=40, help="mutants of each module")
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer than most tests
    folder = tempfile.mkdtemp()
    libraries = Path(folder) / "libraries"
    # Where other runs of pytest clear up at the same time, a test fails that noticed nothing.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
    total: Counter[str] = Counter()
    for module in asked.modules:
        path = ROOT / "biosig_cli" / f"{module}.py"
        tree = ast.parse(path.read_text("utf-8"))
        tests = [each for each in TESTS[module] if (ROOT / each).exists()]
        as_it_is = is_noticed(module, tree, tests, libraries)
        assert as_it_is == "survived", f"the tests of {module} fail as it is"
        load(libraries)
        gc.freeze()
        every = list(mutants(tree))
        chosen = random.Random(module).sample(every, min(asked.at_most, len(every)))
        count: Counter[str] = Counter()
        for line, words, changed in sorted(chosen, key=lambda each: each[0]):
            how = is_noticed(module, changed, tests)
            count[how] += 1
            if how == "survived":
                print(f"  {module}.py:{line} {words}", flush=True)
        print(f"{module:18} {len(every):4} possible {dict(count)}", flush=True)
        total.update(count)
    print(dict(total))


if __name__ == "__main__":
    main()
