"""`biosig runs`: which runs there are, how one of them went, and what tells several apart."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from biosig_cli.core.config import Config, flat
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.report.terminal import align, draw_curves
from biosig_cli.services.run_facts import PastRun, find_runs, read_run

NOTHING = "-"
IDENTITY = frozenset(("output_dir",))
"""Settings that are a run's name and place, and say nothing of what it did."""
N_DIGITS = 10
"""Of a digest, as much as tells two of them apart."""


def list_runs(folder: Path, reporter: Reporter) -> list[PastRun]:
    """Say which runs there are under `folder`, how they stand, and how to go on with them.

    Raises:
        DataError: If there is no such folder.
    """
    runs = find_runs(folder)
    if not runs:
        reporter.say(f"no runs under {folder}: `biosig pretrain` makes one")
        return runs
    columns = ("run", "command", "state", "best", "epochs", "took", "begun")
    reporter.show(align(columns, [_row(run, folder) for run in runs]))
    for run in runs:
        name = _name(run, folder)
        if run.problems:
            reporter.warn(f"{name}: {', '.join(run.problems)}")
        if run.how_to_resume:
            reporter.say(f"go on with {name}: {run.how_to_resume}")
    return runs


def _row(run: PastRun, folder: Path) -> tuple[str, ...]:
    return (_name(run, folder), run.command or NOTHING, run.state, *_outcome(run).values())


def _name(run: PastRun, folder: Path) -> str:
    return run.folder.name if run.folder == folder else str(run.folder.relative_to(folder))


def _outcome(run: PastRun) -> dict[str, str]:
    """Return how a run went, as it is read in a table."""
    is_cut = run.n_epochs < run.n_planned
    began = run.began
    return {
        "best": NOTHING if run.best is None else f"{run.monitor} {run.best:.4f}",
        "epochs": f"{run.n_epochs}/{run.n_planned}" if is_cut else f"{run.n_epochs}",
        "took": NOTHING if run.duration_s is None else duration(run.duration_s),
        "begun": began.strftime("%Y-%m-%d %H:%M") if began else NOTHING,
    }


def show_run(path: Path, reporter: Reporter) -> PastRun:
    """Say what is known of a run and draw its curves; `history.png` is made again if it is gone.

    Raises:
        ConfigError: If there is no run.
    """
    run = read_run(path)
    said = run.manifest
    reporter.fact("run", run.folder)
    why = ", ".join(run.problems) or (f"seed {run.config['seed']}" if "seed" in run.config else "")
    reporter.fact("state", f"{run.command}, {run.state}", why)
    found = _outcome(run)
    reporter.fact("best", found["best"], f"epoch {run.best_epoch}" if run.best_epoch else "")
    reporter.fact("epochs", found["epochs"], f"took {found['took']}, begun {found['begun']}")
    for name, value, reason in _origin(said):
        reporter.fact(name, value, reason)
    if "windows_per_s" in run.newest:
        reporter.fact("speed", _speed(run), f"{run.newest['memory_gb']:.1f} GB at the peak")
    _show_settings(run, reporter)
    show_phases(run, reporter)
    _show_curves(run, reporter)
    if run.how_to_resume:
        reporter.say(f"go on: {run.how_to_resume}")
    return run


def _origin(said: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what a manifest says of a run's windows, parents and machine."""
    for split, digest in (said.get("data") or {}).items():
        n = (said.get("n_windows") or {}).get(split)
        n_subjects = (said.get("n_subjects") or {}).get(split)
        count = "windows" if n is None else f"{n:,} windows of {n_subjects} subjects"
        yield split, count, f"digest {digest[:N_DIGITS]}"
    parents = said.get("lineage") or []
    for parent in reversed(parents):
        yield "parent", str(parent["checkpoint"]), f"sha256 {parent['sha256'][:N_DIGITS]}"
    if not parents and said.get("parent"):
        yield "parent", said["parent"]["source"], f"sha256 {said['parent']['sha256'][:N_DIGITS]}"
    if "device" in said:
        many = said["n_processes"] > 1
        processes = f", {said['n_processes']} processes" if many else ""
        yield "device", f"{said['device']}, {said['precision']}{processes}", ""
    if "packages" in said:
        versions = (f"{name} {number}" for name, number in said["packages"].items())
        yield "made with", f"biosig {said.get('biosig_version', '?')}", ", ".join(versions)


def _speed(run: PastRun) -> str:
    row = run.newest
    share = f"{100 * row['wait_share']:.0f} % waiting for data"
    return f"{row['windows_per_s']:.0f} windows/s, {share}"


def _show_settings(run: PastRun, reporter: Reporter) -> None:
    config = _config_of(run.command)
    if config is None or not run.config:
        return
    default = flat(config().dump())
    rows = [
        (key, _said(value), _said(default.get(key)))
        for key, value in flat(run.config).items()
        # What a phase has of its own, `runs show` says of the phase.
        if value != default.get(key) and key not in IDENTITY and not key.startswith("phases.")
    ]
    if rows:
        title = "settings that are not the default"
        reporter.show(align((title, "here", "default"), rows))
    else:
        reporter.say("all settings are the defaults")


def show_phases(run: PastRun, reporter: Reporter) -> None:
    """Say what each finished phase of a run reached, and what a probe of the encoder did."""
    told = run.manifest.get("phases") or []
    probed = told or [{"name": run.folder.name, "probe": run.manifest.get("probe")}]
    rows = [
        (
            phase["name"],
            f"{phase['best_epoch']} of {phase['epochs']}",
            f"val_{phase['monitor']} {phase['best']:.4f}",
            duration(phase["duration_s"]),
            str(run.folder / phase["folder"]),
        )
        for phase in told
    ]
    if rows:
        reporter.show(align(("phase", "best epoch", "best", "took", "folder"), rows))
    show_probes([phase for phase in probed if phase.get("probe")], reporter)


def show_probes(told: Sequence[dict[str, Any]], reporter: Reporter) -> None:
    """Say what a line through the frozen encoder reached before and after each phase, if asked."""
    if not told:
        return
    first = told[0]["probe"]
    title = f"probe of {first['label']}, {first['metric']} (95 % over {first['n_subjects']} people)"
    rows = [
        (phase["name"], *(_figure(phase["probe"][key]) for key in ("before", "after", "gain")))
        for phase in told
    ]
    reporter.show(align((title, "before", "after", "better by"), rows))


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"not defined ({figure['why']})"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _config_of(command: str) -> type[Config] | None:
    """Return the settings of a command; only here is torch loaded, with the command."""
    if command == "pretrain":
        from biosig_cli.services.pretrain_config import PretrainConfig

        return PretrainConfig
    if command == "finetune":
        from biosig_cli.services.finetune import FinetuneConfig

        return FinetuneConfig
    return None


def _show_curves(run: PastRun, reporter: Reporter) -> None:
    if not run.n_epochs:
        reporter.say("no epoch is complete yet: there are no curves")
        return
    curves = {split: run.history.get(f"{split}_loss", []) for split in ("train", "val")}
    reporter.show(draw_curves("loss", {name: v for name, v in curves.items() if v}))
    if run.monitor != "val_loss":
        title = run.monitor.removeprefix("val_")
        reporter.show(draw_curves(title, {"val": run.history[run.monitor]}))
    picture = run.folder / "history.png"
    if not picture.exists():
        from biosig_cli.report.history import draw_history

        numbers = {
            name: [float("nan") if value is None else value for value in values]
            for name, values in run.history.items()
        }
        draw_history(numbers, picture)
    reporter.fact("curves", picture)


def run_as_json(path: Path) -> dict[str, Any]:
    """Return what `show_run` says as plain values, with all settings and curves.

    Raises:
        ConfigError: If there is no run.
    """
    run = read_run(path)
    parts = {"settings": run.config, "manifest": run.manifest, "history": run.history}
    return run.plain() | parts


def comparison_as_json(paths: Sequence[Path]) -> dict[str, Any]:
    """Return what `compare_runs` says as plain values: of each run, in the order given.

    Raises:
        ConfigError: If one of them is no run.
    """
    runs = [read_run(path) for path in paths]
    settings = [flat(run.config) for run in runs]
    changed = [key for key, *_ in _differing(runs)]
    names = dict.fromkeys(name for run in runs for name in run.history if name.startswith("val_"))
    return {
        "runs": [run.plain() for run in runs],
        "settings": {key: [each.get(key) for each in settings] for key in changed},
        "results": {name: [run.at_best(name) for run in runs] for name in names},
    }


def compare_runs(paths: Sequence[Path], reporter: Reporter) -> None:
    """Say which settings of runs differ, and put their results side by side.

    Raises:
        ConfigError: If one of them is no run.
    """
    runs = [read_run(path) for path in paths]
    names = [str(run.folder) for run in runs]
    rows = list(_differing(runs))
    if rows:
        reporter.show(align(("settings that differ", *names), rows))
    else:
        reporter.say("no setting differs")
    reporter.show(align(("results", *names), list(_results(runs))))


def _differing(runs: Sequence[PastRun]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each setting that is not the same in all runs."""
    settings = [flat(run.config) for run in runs]
    for key in dict.fromkeys(key for each in settings for key in each):
        values = [each.get(key) for each in settings]
        if key not in IDENTITY and any(value != values[0] for value in values):
            yield key, *map(_said, values)


def _results(runs: Sequence[PastRun]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each thing that runs are compared by."""
    yield "command", *(run.command for run in runs)
    yield "state", *(run.state for run in runs)
    outcomes = [_outcome(run) for run in runs]
    for name in outcomes[0]:
        yield name, *(each[name] for each in outcomes)
    yield "best epoch", *(str(run.best_epoch or NOTHING) for run in runs)
    for name in dict.fromkeys(name for run in runs for name in run.history):
        if name.startswith("val_"):
            values = [run.at_best(name) for run in runs]
            yield name, *(NOTHING if v is None else f"{v:.4f}" for v in values)
    for split in ("train", "val"):
        digests = [(run.manifest.get("data") or {}).get(split) for run in runs]
        yield f"{split} windows", *_told_apart(digests)


def _told_apart(digests: Sequence[str | None]) -> list[str]:
    """Return which windows are those of the first run; where they are not, their digest."""
    first, *others = [each[:N_DIGITS] if each else NOTHING for each in digests]
    return [first, *("the same" if each == first != NOTHING else each for each in others)]


def _said(value: Any) -> str:
    if value is None:
        return NOTHING
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
