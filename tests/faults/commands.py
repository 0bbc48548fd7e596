"""The commands that are ended, starved or misled here: how each is called, and started.

Commands start from a process that has imported torch already, so that a random moment falls into
their work and not into imports.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
import yaml

import biosig_cli.cli
import biosig_cli.services.audit
import biosig_cli.services.build_windows
import biosig_cli.services.embed
import biosig_cli.services.evaluate
import biosig_cli.services.export
import biosig_cli.services.finetune
import biosig_cli.services.inflate
import biosig_cli.services.predict
import biosig_cli.services.prepare_splits
import biosig_cli.services.pretrain
import biosig_cli.services.smoke
import biosig_cli.services.submission
from biosig_cli.services import split_store
from tests.recordings import write_case
from tests.services.conftest import write_labelled

SMALL = ["--set", "model.width=16", "--set", "model.n_layers=2", "--set", "model.n_levels=1"]
PLAN = ["--set", "plan.epochs=3", "--set", "plan.batch_size=8", "--set", "plan.warmup_epochs=0"]
HERE = ["--device", "cpu", "--precision", "fp32"]
AUTOENCODER = [
    *("--set", "model.width=8", "--set", "model.hidden=16"),
    *("--set", "objectives.reconstruction.crop_samples=640"),
    *("--set", "objectives.reconstruction.whole_epochs=1"),
]
PHASES = {
    "model": {"width": 16, "n_layers": 1, "n_levels": 1},
    "max_windows": 32,
    "plan": {"epochs": 2, "batch_size": 16, "warmup_epochs": 0},
    "phases": {
        "masked": {"objectives": {"masked": {"mask_ratio": 0.5}}},
        "again": {"move": {"frozen_epochs": 1}},
    },
}
Wrong = Callable[[], None]
"""Makes the surroundings of a process other than they should be, before its command begins."""


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
        "build-windows --split-file BASE/splits/splits_fasttrack.json --outdir OUT --workers 1 "
        "--format npz"
    ),
    "build-windows, 2 workers": _command(
        "build-windows --split-file BASE/splits/splits_fasttrack.json --outdir OUT --workers 2"
    ),
    "build-windows, pages": _command(
        "build-windows --split-file BASE/splits/splits_fasttrack.json --outdir OUT --workers 1 "
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
    "finetune, folds": _command(
        "finetune --pretrained BASE/encoder --data-dir BASE/labelled --output-dir OUT "
        "--head-only-epochs 1 --set folds=3", *PLAN, *HERE, again="--resume",
    ),
    "pretrain, autoencoder": _command(
        "pretrain --config ppg_autoencoder --data-dir BASE/windows --output-dir OUT",
        *AUTOENCODER, *PLAN, *HERE, again="--resume",
    ),
    "evaluate": _command(
        "evaluate --checkpoint BASE/finetuned --data-dir BASE/labelled --output-dir OUT "
        "--device cpu --set n_resamples=50 --folds 0"
    ),
    "evaluate, drawings": _command(
        "evaluate --checkpoint BASE/encoder --data-dir BASE/windows --output-dir OUT --device cpu "
        "--set n_resamples=50"
    ),
    "audit": _command("audit BASE/labelled --output OUT/findings.json"),
    "submission": _command(
        "submission --challenge-1 BASE/rate --challenge-2 BASE/score --output-dir OUT"
    ),
    "smoke": _command("smoke --data-dir BASE/windows --output-dir OUT --device cpu"),
    "export": _command("export --checkpoint BASE/encoder BASE/source --format hf --output OUT"),
    "export, ONNX": _command("export --checkpoint BASE/encoder BASE/source --output OUT"),
    "embed": _command("embed BASE/source --checkpoint BASE/encoder --output OUT/emb.parquet"),
    "predict": _command(
        "predict BASE/labelled/test --checkpoint BASE/finetuned --output OUT/said.parquet"
    ),
}  # fmt: skip
RATE = _command(
    "finetune --pretrained BASE/encoder --data-dir BASE/labelled --output-dir OUT "
    "--task regression --label hr --head-only-epochs 1", *PLAN, *HERE,
)  # fmt: skip
"""What makes the models that `submission` is given."""


QUICK = ("prepare-splits", "build-windows", "pretrain", "inflate", "export", "embed")
"""Commands that are tried at every turn; the others by `make faults`."""
PLAIN = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in COMMANDS
    if "," not in name and name != "submission"
]
"""Each command once, but for one whose inputs take long to make."""


def prepare(base: Path, *, rated: bool = False) -> None:
    """Make the inputs of all commands, by the commands; those of `submission` where it is asked."""
    for number in range(6):
        write_case(base / "source", f"{number}", duration_s=30.0, rate_bpm=60.0 + 7 * number)
    (base / "phases.yaml").write_text(yaml.safe_dump(PHASES, sort_keys=False))
    write_labelled(base / "labelled")
    made = {
        "splits": COMMANDS["prepare-splits"],
        "windows": COMMANDS["build-windows"],
        "encoder": COMMANDS["pretrain"],
        "finetuned": COMMANDS["finetune"],
    }
    made |= {"rate": RATE, "score": RATE} if rated else {}
    for name, command in made.items():
        out = base / name
        process = start(command, base, out)
        process.join()
        assert process.exitcode == 0, f"{name}: {log_of(out).read_text()[-2000:]}"


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.commands"])


def log_of(out: Path) -> Path:
    """Return where a command with this output says what it says."""
    return out.with_name(f"{out.name}.log")


def start(
    command: Command, base: Path, out: Path, *, again: bool = False, wrong: Wrong | None = None
) -> Any:
    """Start a command in a process of its own, which leads a group."""
    arguments = [*command.arguments, *(command.again if again else ())]
    arguments = [each.replace("BASE", str(base)).replace("OUT", str(out)) for each in arguments]
    given = arguments, log_of(out), command.draws, wrong
    process = CONTEXT.Process(target=_run, args=given)
    process.start()
    return process


def _run(arguments: list[str], log: Path, draws: bool, wrong: Wrong | None) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if not draws:
        split_store.write_quality = split_store.draw_some = lambda *_, **__: None
    if wrong is not None:
        wrong()
    sys.argv = ["biosig", *arguments]
    biosig_cli.cli.main()
