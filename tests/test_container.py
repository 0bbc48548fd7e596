"""Container and scripts pass their linters, and nothing but the package comes into an image."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from biosig_cli import __version__

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*(ROOT / "examples").glob("*.sh"), *(ROOT / "examples/slurm").glob("*.sbatch")])


def linter(name):
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: pip install '.[test]'")
    return found


def lint(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_passes_hadolint() -> None:
    lint(linter("hadolint"), ROOT / "Dockerfile")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_passes_shellcheck(script: Path) -> None:
    lint(linter("shellcheck"), script)


def test_there_are_scripts() -> None:
    assert {path.name for path in SCRIPTS} == {"pipeline.sh", "pretrain.sbatch"}


def test_image_is_made_of_what_it_copies_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    assert ignored[1] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    copied = {
        name.rstrip("/")
        for names in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE)
        for name in names.split()
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_image_installs_what_is_tested_and_is_not_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    python = re.search(r"^ARG PYTHON=(.*)$", dockerfile, re.MULTILINE)
    assert python is not None
    assert python[1] in ("3.11", "3.12")
    assert "--constraint constraints.txt" in dockerfile
    extras = re.search(r"'\.\[(.*)\]'", dockerfile)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert extras is not None
    assert all(re.search(rf"^{name} = \[", project, re.M) for name in extras[1].split(","))
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["1000"]
    assert __version__ in project
