"""Ends commands at random moments, runs them again, and compares what they leave.

    python -m tests.faults.kills --runs 200

Commands start from a process that has imported torch already, so that a random moment falls into
their work and not into imports.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch._dynamo
import yaml

import biosig_cli.cli
import biosig_cli.services.build_windows
import biosig_cli.services.embed
import biosig_cli.services.evaluate
import biosig_cli.services.finetune
import biosig_cli.services.inflate
import biosig_cli.services.prepare_splits
import biosig_cli.services.pretrain
from biosig_cli.core.artifacts import TEMPORARY
from biosig_cli.data.store import open_store
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.services import split_store
from tests.recordings import write_case
from tests.services.conftest import write_labelled

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SMALL = ["--set", "model.width=16", "--set", "model.n_layers=2", "--set", "model.n_levels=1"]
PLAN = ["--set", "plan.epochs=3", "--set", "plan.batch_size=8", "--set", "plan.warmup_epochs=0"]
HERE = ["--device", "cpu", "--precision", "fp32"]
PHASES = {
    "model": {"width": 16, "n_layers": 1, "n_levels": 1},
    "max_windows": 32,
    "plan": {"epochs": 2, "batch_size": 16, "warmup_epochs": 0},
    "phases": {
        "masked": {"objectives": {"masked": {"mask_ratio": 0.5}}},
        "again": {"move": {"frozen_epochs": 1}},
    },
}
TIMINGS = re.compile(
    r".*(made_at|started_at|_s|_per_s|duration.*|memory.*|wait_share|took|output.*|folder|source"
    r"|checkpoint|outdir|how_to_resume|sha256|path|init_from|parent|lineage|digest)"
)
"""Keys whose values may differ: moments, speeds, and where the output folder is."""


@dataclass(frozen=True)
class Command:
    """A command, and how it is run again."""

    arguments: tuple[str, ...]
    """What it is given; OUT is its output, BASE where its inputs are."""
    again: tuple[str, ...] = ()
    """What is added to go on with a run."""
    draws: bool = False
    """Whether pages about quality are drawn, which takes longer than the windows."""


def _command(line: str, *more: str, again: str = "", draws: bool = False) -> Command:
    return Command((*line.split(), *more), tuple(again.split()), draws)


COMMANDS = {
    "prepare-splits": _command("prepare-splits --source BASE/source --output OUT"),
    "build-windows": _command(
        "build-windows --split-file BASE/splits_fasttrack.json --outdir OUT --workers 1 "
        "--format npz"
    ),
    "build-windows, 2 workers": _command(
        "build-windows --split-file BASE/splits_fasttrack.json --outdir OUT --workers 2"
    ),
    "build-windows, pages": _command(
        "build-windows --split-file BASE/splits_fasttrack.json --outdir OUT --workers 1 "
        "--split test", draws=True,
    ),
    "pretrain": _command(
        "pretrain --data-dir BASE/windows --output-dir OUT", *SMALL, *PLAN, *HERE, again="--resume"
    ),
    "pretrain, phases": _command(
        "pretrain --config BASE/phases.yaml --data-dir BASE/windows --output-dir OUT", *HERE,
        again="--resume",
    ),
    "inflate": _command(
        "inflate --checkpoint BASE/encoder --channels ACC_X,PPG,ECG --output OUT"
    ),
    "finetune": _command(
        "finetune --pretrained BASE/encoder --data-dir BASE/labelled --output-dir OUT "
        "--head-only-epochs 1", *PLAN, *HERE, again="--resume",
    ),
    "evaluate": _command(
        "evaluate --checkpoint BASE/finetuned --data-dir BASE/labelled --output-dir OUT "
        "--device cpu --set n_resamples=50"
    ),
    "export": _command("export --checkpoint BASE/encoder BASE/source --format hf --output OUT"),
    "embed": _command("embed BASE/source --checkpoint BASE/encoder --output OUT/emb.parquet"),
}  # fmt: skip
SHORT = ("prepare-splits", "build-windows", "pretrain", "inflate", "finetune")


def prepare(base: Path) -> None:
    """Make the inputs of all commands, by the commands."""
    for number in range(6):
        write_case(base / "source", f"{number}", duration_s=30.0, rate_bpm=60.0 + 7 * number)
    (base / "phases.yaml").write_text(yaml.safe_dump(PHASES, sort_keys=False))
    write_labelled(base / "labelled")
    for name, out in {
        "prepare-splits": base,
        "build-windows": base / "windows",
        "pretrain": base / "encoder",
        "finetune": base / "finetuned",
    }.items():
        process = start(name, base, out)
        process.join()
        assert process.exitcode == 0, f"{name}: {log_of(out).read_text()[-2000:]}"


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.kills"])


def log_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.log")


def start(name: str, base: Path, out: Path, *, again: bool = False) -> Any:
    """Start a command in a process of its own, which leads a group."""
    command = COMMANDS[name]
    arguments = [*command.arguments, *(command.again if again else ())]
    arguments = [each.replace("BASE", str(base)).replace("OUT", str(out)) for each in arguments]
    process = CONTEXT.Process(target=_run, args=(arguments, log_of(out), command.draws))
    process.start()
    return process


def _run(arguments: list[str], log: Path, draws: bool) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if not draws:
        split_store.write_quality = split_store.draw_some = lambda *_, **__: None
    sys.argv = ["biosig", *arguments]
    biosig_cli.cli.main()


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
    process = start(name, base, out)
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
        process = start(name, base, out, again=attempt > 0)
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
    process = start(name, base, out, again=True)
    process.join(max(60.0, 20 * duration_s))
    said = log_of(out).read_text("utf-8", "replace")
    if process.exitcode != 0:
        course.faults.append(f"the same command ended with {process.exitcode}: {said[-600:]}")
        end(process.pid, signal.SIGKILL, whole_group=True)
        return course
    if "Traceback" in said:
        course.faults.append(f"a traceback: {said[said.index('Traceback') :][:1500]}")
    found = left(out)
    hidden = {path for path in found if TEMPORARY.fullmatch(Path(path).name)}
    course.faults += [f"left {path}" for path in sorted(hidden)]
    found = {path: each for path, each in found.items() if path not in hidden}
    course.faults += differences(expected, found)[:5]
    return course


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--runs", type=int, default=20, help="of each command")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        prepare(base)
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
    # What the processes import is this module by its name, not as a script.
    from tests.faults import kills

    kills.main()
