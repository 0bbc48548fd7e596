"""The main job on real recordings, as commands: what `make demo` runs.

Recordings come from $BIOSIG_DATA if it is set, else from a folder of .vital files beside the
project, else from the PPG recordings that the package HeartPy carries. Labelled recordings, for
fine-tuning, come from $BIOSIG_LABELLED (BUT PPG's tree) or from beside the project; without them
the demo ends with the encoder. Run again, it goes on where it stopped.
"""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

OUT = Path("artifacts/demo")
BESIDE = Path("../shared/data/vital")
LABELLED_BESIDE = Path("../shared/data/wrist5")


def find_source() -> tuple[Path, str, list[str]]:
    """Return a folder of recordings, what it is, and the recipe that it needs."""
    if os.environ.get("BIOSIG_DATA"):
        return Path(os.environ["BIOSIG_DATA"]), "your recordings ($BIOSIG_DATA)", []
    if BESIDE.is_dir():
        return BESIDE, "ICU recordings beside the project", []
    # Found without importing it: HeartPy's own import needs an older setuptools.
    package = importlib.util.find_spec("heartpy")
    if package is None or not package.submodule_search_locations:
        sys.exit("error: no recordings: set BIOSIG_DATA to a folder, or install biosig[demo]")
    folder = Path(package.submodule_search_locations[0]) / "data"
    return folder, "PPG recordings of the package HeartPy (MIT)", ["--config", "demo"]


def find_labelled() -> Path | None:
    """Return a folder of labelled recordings, if there is one."""
    if os.environ.get("BIOSIG_LABELLED"):
        return Path(os.environ["BIOSIG_LABELLED"])
    return LABELLED_BESIDE if LABELLED_BESIDE.is_dir() else None


def biosig(*words: object) -> None:
    """Run one command, after showing it."""
    command = ["biosig", *map(str, words)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "biosig_cli", *command[1:]], check=False
    ).returncode
    if code:
        sys.exit(code)


def pretrain() -> tuple[Path, str]:
    """Go from recordings to a pretrained encoder, and say how it is to be fine-tuned.

    With --smoke, go to checked windows only.
    """
    source, what, recipe = find_source()
    print(f"recordings: {source}, {what}")
    windows = OUT / "windows"
    biosig("prepare-splits", *recipe, "--source", source, "--mode", "full", "--output", OUT)
    biosig("build-windows", *recipe, "--split-file", OUT / "splits_full.json", "--outdir", windows)
    biosig("smoke", "--data-dir", windows, "--output-dir", OUT / "smoke")
    run = OUT / "foundation_model"
    if "--smoke" not in sys.argv:
        plan = recipe or ["--config", "ssl_pretrain_rhythm"]
        biosig("pretrain", *plan, "--data-dir", windows, "--output-dir", run, "--resume")
    # A recipe of its own did not ask the encoder for the rhythm, which the head would read.
    return run, "finetune_but_ppg" if recipe else "finetune_rhythm"


def transfer(encoder: Path, labelled: Path, plan: str) -> Path:
    """Go from the encoder to a task on other people and more channels, and to its report."""
    print(f"\nlabelled recordings: {labelled}")
    biosig("inflate", "--checkpoint", encoder, "--output", OUT / "inflated")
    run = OUT / "finetuned"
    biosig("finetune", "--config", plan, "--pretrained", OUT / "inflated", "--data-dir", labelled,
           "--output-dir", run, "--folds", "8", "--resume")  # fmt: skip
    biosig("evaluate", "--checkpoint", run)
    return run / "report.html"


def main() -> None:
    """Run the chain as far as there are recordings for it."""
    encoder, plan = pretrain()
    if "--smoke" in sys.argv:
        return
    print(f"\nthe encoder: {encoder / 'best_model.pt'}\nits training: {encoder / 'history.png'}")
    labelled = find_labelled()
    if labelled is None:
        print("no labelled recordings: set BIOSIG_LABELLED to BUT PPG's folder to go on from here")
    else:
        print(f"\nthe report: {transfer(encoder, labelled, plan)}")


if __name__ == "__main__":
    main()
