"""Reads damaged files, one after the other, in a process of its own that may crash or hang.

    python -m tests.faults.trials TARGET FIRST LAST FOLDER [--real FOLDER]

Each line on standard output is JSON: `{"at": N}` before an input, `{"n": N, "how": ...}` after.
"""

import argparse
import gc
import json
import random
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from biosig_cli.core.errors import BiosigError

ROOM = 1 << 30
"""Bytes that a reader may take beyond what the process has when it starts."""
OUTSIDE = (Path("/tmp/out"), Path("/tmp/out.npy"))
"""What the mutators name."""


def damage(folder: Path, target: Any, draw: random.Random) -> None:
    """Damage one file of a good folder."""
    kinds = [(sorted(folder.glob(pattern)), how) for pattern, how in target.damage]
    files, how = draw.choice([each for each in kinds if each[0]])
    file = draw.choice(files)
    mutator = draw.choice(how)
    file.write_bytes(mutator(file.read_bytes(), draw))


def try_one(name: str, number: int, good: Path, box: Path) -> dict[str, Any]:
    """Read an input, and say how it went."""
    from tests.faults.targets import TARGETS

    shutil.rmtree(box.parent, ignore_errors=True)
    shutil.copytree(good, box)
    target = TARGETS[name]
    draw = random.Random(f"{name} {number}")
    damage(box, target, draw)
    try:
        target.read(box)
        how = {"how": "read"}
    except BiosigError as error:
        how = {"how": "refused", "why": str(error)[:200]}
    except MemoryError:
        how = {"how": "memory", "where": _where()}
    except Exception as error:
        how = {"how": "fell", "why": f"{type(error).__name__}: {error}"[:200], "where": _where()}
    gc.collect()  # what a traceback held on to may be all the room there is
    beside = [path.name for path in box.parent.iterdir() if path != box]
    beside += [str(path) for path in OUTSIDE if path.exists()]
    return how | ({"how": "escaped", "why": beside} if beside else {})


def _where() -> str:
    stack = traceback.extract_tb(sys.exc_info()[2])
    ours = [each for each in stack if "/biosig_cli/" in each.filename]
    last = [*ours[-1:], stack[-1]]
    return " > ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in last)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--real", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from tests.faults.targets import TARGETS

    good = asked.folder / f"good-{asked.target}-{asked.first}"
    good.mkdir(parents=True)
    TARGETS[asked.target].make(good, asked.real)
    TARGETS[asked.target].read(shutil.copytree(good, good.with_name(good.name + "-read")))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    box = asked.folder / f"box-{asked.target}-{asked.first}" / "in"
    for number in range(asked.first, asked.last):
        print(json.dumps({"at": number}), flush=True)
        print(json.dumps({"n": number} | try_one(asked.target, number, good, box)), flush=True)


if __name__ == "__main__":
    main()
