"""The main job on real recordings, as commands: what `make demo` runs.

Recordings come from $BIOSIG_DATA if it is set, else from a folder of .vital files beside the
project, else from the PPG recordings that the package HeartPy carries. Run again, it goes on where
it stopped.
"""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

OUT = Path("artifacts/demo")
BESIDE = Path("../shared/data/vital")
FEW = ["--lr", "2e-3", "--batch-size", "32", "--warmup-epochs", "2"]


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


def biosig(*words: object) -> None:
    """Run one command, after showing it."""
    command = ["biosig", *map(str, words)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "biosig_cli", *command[1:]], check=False
    ).returncode
    if code:
        sys.exit(code)


def main() -> None:
    """Go from recordings to a pretrained encoder; with --smoke, to checked windows."""
    source, what, recipe = find_source()
    print(f"recordings: {source}, {what}")
    windows = OUT / "windows"
    biosig("prepare-splits", *recipe, "--source", source, "--mode", "full", "--output", OUT)
    biosig("build-windows", *recipe, "--split-file", OUT / "splits_full.json", "--outdir", windows)
    biosig("smoke", "--data-dir", windows, "--output-dir", OUT / "smoke")
    if "--smoke" in sys.argv:
        return
    run = OUT / "foundation_model"
    plan = recipe or ["--config", "ssl_pretrain", "--epochs", "20", *FEW]
    biosig("pretrain", *plan, "--data-dir", windows, "--output-dir", run, "--resume")
    print(f"\nthe encoder: {run / 'best_model.pt'}\nits training: {run / 'history.png'}")


if __name__ == "__main__":
    main()
