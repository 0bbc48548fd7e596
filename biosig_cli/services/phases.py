"""The folder of a run with phases: a folder for each in it, and the weights of the last one."""

import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from biosig_cli.core.artifacts import atomic_path, provenance, read_json, write_json
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import BEST
from biosig_cli.engine.history import write_history
from biosig_cli.report.history import draw_history
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.run_facts import CONFIG, HISTORY, MANIFEST, read_run
from biosig_cli.services.run_folder import PACKAGES
from biosig_cli.services.runs import show_phases
from biosig_cli.services.training import refuse_changes


def open_phases(config: PretrainConfig, reporter: Reporter, *, anyway: bool) -> None:
    """Write what the run is to be, or make sure that it is still the same.

    Raises:
        ConfigError: If the folder holds a run with other settings.
    """
    folder = config.output_dir
    if (folder / CONFIG).exists():
        refuse_changes(read_json(folder / CONFIG), config.dump(), folder, reporter, anyway=anyway)
    begun = read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
    write_json(folder / CONFIG, config.dump())
    write_json(folder / MANIFEST, provenance(*PACKAGES) | {"command": "pretrain"} | begun)


def close_phase(config: PretrainConfig, done: Sequence[str]) -> None:
    """Write what the phases that are done have reached; after the last one, the run is finished.

    Its best weights are those of its last phase: best by what that phase asks.
    """
    folder = config.output_dir
    folders = [step.output_dir for name, step in config.steps if name in done]
    each = [read_json(one / MANIFEST) for one in folders]
    told = [
        {"name": name, "folder": one.name}
        | {key: said[key] for key in ("monitor", "best", "best_epoch", "epochs", "duration_s")}
        | {key: said[key] for key in ("probe",) if key in said}
        for name, one, said in zip(done, folders, each, strict=True)
    ]
    histories = [read_json(one / HISTORY) for one in folders]
    history = one_after_the_other(histories)
    write_history(folder, history)
    draw_history(history, folder / "history.png")
    said = read_json(folder / MANIFEST) | {"phases": told}
    if len(done) == len(config.phases):
        with atomic_path(folder / BEST) as temporary:
            shutil.copyfile(folders[-1] / BEST, temporary)
        n_before = sum(phase["epochs"] for phase in told[:-1])
        said |= {key: value for key, value in each[-1].items() if key not in said}
        said |= {
            "best_epoch": n_before + told[-1]["best_epoch"],
            "epochs": n_before + told[-1]["epochs"],
            "duration_s": sum(phase["duration_s"] for phase in told),
        }
    write_json(folder / MANIFEST, said)


def one_after_the_other(histories: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return histories as one: epochs count on, `phase` counts from 1, not asked is not a number.

    Args:
        histories: Of each phase, equally long lists by name.
    """
    names = dict.fromkeys(name for history in histories for name in history)
    joined: dict[str, list[float]] = {name: [] for name in ("epoch", "phase", *names)}
    for number, history in enumerate(histories, start=1):
        n_epochs, n_before = len(history["epoch"]), len(joined["epoch"])
        missing = [math.nan] * n_epochs
        for name in names:
            joined[name] += [math.nan if v is None else v for v in history.get(name, missing)]
        joined["phase"] += [number] * n_epochs
        joined["epoch"][n_before:] = range(n_before + 1, n_before + n_epochs + 1)
    return joined


def conclude_phases(config: PretrainConfig, reporter: Reporter) -> None:
    """Say what each phase reached, and where the weights lie."""
    run = read_run(config.output_dir)
    show_phases(run, reporter)
    last = run.manifest["phases"][-1]["name"]
    reporter.fact("run", config.output_dir / BEST, f"the best weights of {last}")
