"""Ends commands at random moments, runs them again, and compares what they leave.

python -m tests.faults.kills --runs 200
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from biosig_cli.core.artifacts import TEMPORARY
from biosig_cli.data.store import open_store
from biosig_cli.engine.checkpoint import load_checkpoint
from tests.faults.commands import COMMANDS, log_of, prepare, start

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMINGS = re.compile(
    r".*(made_at|started_at|_s|_per_s|ms_per_.*|duration.*|memory.*|wait_share|took|output.*|folder|source"
    r"|checkpoint|outdir|how_to_resume|sha256|path|init_from|parent|lineage|digest)"
)
"""Keys whose values may differ: moments, speeds, and where the output folder is."""


def end(pid: int, number: int, *, whole_group: bool) -> None:
    """Send a signal, to the process or to all that it started."""
    try:
        (os.killpg if whole_group else os.kill)(pid, number)
    except ProcessLookupError:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def broken(folder: Path) -> list[str]:
    """Return the artifacts that are there and not whole."""
    return [why for path in sorted(folder.rglob("*")) if path.is_file() for why in _broken(path)]


def _broken(path: Path) -> list[str]:
    if path.name.startswith("."):
        return []
    try:
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".pt":
            load_checkpoint(path)
        elif path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix in (".npy", ".npz"):
            loaded = np.load(path, allow_pickle=False)
            {name: loaded[name] for name in loaded} if path.suffix == ".npz" else loaded.sum()
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), "cut"
        elif path.suffix == ".html":
            assert path.read_text("utf-8").rstrip().endswith("</html>"), "cut"
        if path.name == "manifest.json" and (path.parent / "shards").is_dir():
            store = open_store(path.parent)
            store.read(np.arange(len(store)))
    except Exception as error:
        return [f"{path.name}: {type(error).__name__}: {error}"]
    return []


def left(folder: Path) -> dict[str, Any]:
    """Return what a command leaves that is no timing and no path, by file."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".log", ".png")
    }


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text("utf-8")))
    if path.suffix == ".jsonl":
        return [_plain(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".pt":
        return _plain(load_checkpoint(path))
    if path.suffix == ".parquet":
        return _plain(pq.read_table(path).to_pydict())
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    if path.suffix == ".pt2":  # the folder in it has the name that the file had first
        with zipfile.ZipFile(path) as archive:
            return {each.filename.partition("/")[2]: each.CRC for each in archive.infolist()}
    if path.suffix == ".onnx":  # says when it was made, and how it was traced
        import onnx

        weights = onnx.load(path).graph.initializer
        return {each.name: onnx.numpy_helper.to_array(each).tobytes() for each in weights}
    if path.suffix in (".html", ".md"):  # say paths and moments
        return "page"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(each) for k, each in value.items() if not TIMINGS.fullmatch(str(k))}
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.numpy(force=True).tobytes()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else repr(value)


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two results differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other}, key=str)
        return [
            line
            for key in keys
            for line in differences(one.get(key), other.get(key), f"{where}/{key}")
        ]
    return [] if one == other else [f"{where}: {str(one)[:60]} / {str(other)[:60]}"]


@dataclass
class Course:
    """How one command went that was ended some times."""

    name: str
    seed: int
    ended: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def straight(name: str, base: Path, out: Path) -> tuple[dict[str, Any], float]:
    """Return what a command leaves that nobody ends, and how long it takes, in seconds."""
    start_s = time.monotonic()
    process = start(COMMANDS[name], base, out)
    process.join()
    assert process.exitcode == 0, f"{name}: {log_of(out).read_text()[-2000:]}"
    return left(out), time.monotonic() - start_s


def try_one(
    name: str, seed: int, base: Path, out: Path, expected: dict[str, Any], duration_s: float
) -> Course:
    """End a command at random moments, up to three times, and let it finish then."""
    draw, course = random.Random(f"{name} {seed}"), Course(name, seed)
    for attempt in range(draw.choice((1, 1, 2, 3))):
        number, whole_group = draw.choice(SIGNALS), draw.random() < 0.5
        whole_group |= number == signal.SIGINT  # a terminal sends it to all
        process = start(COMMANDS[name], base, out, again=attempt > 0)
        process.join(draw.uniform(0.02, 1.05) * duration_s)
        if process.exitcode is None:
            end(process.pid, number, whole_group=whole_group)
            course.ended.append(signal.Signals(number).name)
        process.join(max(60, 5 * duration_s))
        if process.exitcode is None:
            course.faults.append(f"did not end soon after {signal.Signals(number).name}")
            end(process.pid, signal.SIGKILL, whole_group=True)
            process.join()
        course.faults += broken(out)
    process = start(COMMANDS[name], base, out, again=True)
    process.join(max(60.0, 20 * duration_s))
    said = log_of(out).read_text("utf-8", "replace")
    if process.exitcode != 0:
        course.faults.append(f"the same command ended with {process.exitcode}: {said[-600:]}")
        end(process.pid, signal.SIGKILL, whole_group=True)
        return course
    if "Traceback" in said:
        course.faults.append(f"a traceback: {said[said.index('Traceback') :][:6000]}")
    found = left(out)
    hidden = {path for path in found if TEMPORARY.fullmatch(Path(path).name)}
    beside = {path.name for path in out.parent.glob(f".{out.name}.*")}
    course.faults += [f"left {path}" for path in sorted(hidden | beside)]
    found = {path: each for path, each in found.items() if path not in hidden}
    course.faults += differences(expected, found)[:5]
    return course


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--runs", type=int, default=20, help="of each command")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--base", type=Path, help="where the inputs are, made if they are not")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = asked.base or Path(folder) / "base"
        if not base.exists():
            prepare(base, rated=True)
        total: Counter[str] = Counter()
        for name in asked.commands:
            safe = name.replace(" ", "_")
            straight(name, base, Path(folder) / f"{safe}-warm")
            expected, duration_s = straight(name, base, Path(folder) / f"{safe}-straight")
            count: Counter[str] = Counter()
            for seed in range(asked.first, asked.first + asked.runs):
                out = Path(folder) / f"{safe}-{seed}"
                course = try_one(name, seed, base, out, expected, duration_s)
                count.update(course.ended)
                count.update(["runs", *["runs with faults"] * bool(course.faults)])
                for fault in course.faults:
                    print(f"  {name}, seed {seed}, {course.ended}: {fault}", flush=True)
            print(f"{name:26} {duration_s:5.1f} s {dict(count)}", flush=True)
            total.update(count)
    print(dict(total))
    sys.exit(bool(total["runs with faults"]))


if __name__ == "__main__":
    main()
