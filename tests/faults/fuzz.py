"""Tries many damaged files on every reader, and counts how it went.

    python -m tests.faults.fuzz --inputs 2000 --real ../shared/data

A process that crashes or takes too long is counted, and the inputs after it are tried by another.
"""

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

LIMIT_S = 30.0
"""Time of a processor that an input may take, in seconds; the first one's has the imports in it."""
PATIENCE_S = 600.0
LOOK_S = 2.0
FINE = ("read", "refused")
"""How an input may go; `fell`, `memory`, `escaped`, `hung` and `crashed` are faults of ours."""


def outcomes(
    target: str, n_inputs: int, folder: Path, real: Path | None
) -> Iterator[dict[str, Any]]:
    """Yield how each input went."""
    first = 0
    while first < n_inputs:
        last = first - 1
        for told in _told(target, first, n_inputs, folder, real):
            if "at" in told:
                last = told["at"]
                continue
            yield {"target": target} | told
            if "n" in told:
                first = told["n"] + 1
        if first < n_inputs:  # it died or hung on this one
            first = max(first, last) + 1


def _told(
    target: str, first: int, n_inputs: int, folder: Path, real: Path | None
) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.faults.trials", target, str(first), str(n_inputs)]
    command += [str(folder), *(["--real", str(real)] if real else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    at: int | None = None
    used_s = waited_s = 0.0
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, env=environment
        ) as child,
        selectors.DefaultSelector() as ready,
    ):
        assert child.stdout is not None
        ready.register(child.stdout, selectors.EVENT_READ)
        rest = b""
        while True:
            if not ready.select(LOOK_S):
                waited_s += LOOK_S
                # Others may keep the processors busy: what counts is what it used of them.
                if _cpu_s(child.pid) - used_s > LIMIT_S or waited_s > PATIENCE_S:
                    child.kill()
                    yield {"n": -1 if at is None else at, "how": "hung"}
                    return
                continue
            used_s, waited_s = _cpu_s(child.pid), 0.0
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    told = json.loads(line)
                    at = told.get("at", at)
                    yield told
            if not chunk:
                break
        if child.wait() != 0:
            said.seek(0)
            if at is None:
                yield {
                    "n": n_inputs,
                    "how": "crashed",
                    "why": said.read()[-1500:],
                    "where": "start",
                }
                return
            why = said.read()[-300:]
            yield {"n": at, "how": "crashed", "why": why, "where": f"exit {child.returncode}"}


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def campaign(
    targets: list[str], n_inputs: int, folder: Path, real: Path | None, n_at_once: int
) -> list[dict[str, Any]]:
    """Return how each input of each target went."""

    def try_target(name: str) -> list[dict[str, Any]]:
        told = list(outcomes(name, n_inputs, folder, real))
        print(f"{name:18}", dict(Counter(each["how"] for each in told)), flush=True)
        return told

    with ThreadPoolExecutor(n_at_once) as pool:
        return [told for many in pool.map(try_target, targets) for told in many]


def main() -> None:
    from tests.faults.targets import TARGETS

    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--at-once", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = campaign(asked.targets, asked.inputs, Path(folder), asked.real, asked.at_once)
    faults = [each for each in told if each["how"] not in FINE]
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in faults:
        kind = str(each.get("why", "")).split(":")[0]
        key = each["target"], each["how"], kind, each.get("where", "")
        kinds.setdefault(key, []).append(each)
    for (target, how, _, where), many in kinds.items():
        first = many[0]
        print(f"{target} {how} x{len(many)} at {where}: {first.get('why')} [input {first['n']}]")
    print(f"{len(told)} inputs, {len(faults)} faults of {len(kinds)} kinds")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
