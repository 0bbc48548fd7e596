"""`biosig doctor`: is this machine fit for the work, and if not, what is to be done?"""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil
import requests
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from biosig_cli import __version__
from biosig_cli.catalog import open_source
from biosig_cli.core.config import shipped_configs
from biosig_cli.core.errors import BiosigError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment, Machine, choose_device, choose_precision

State = Literal["ok", "note", "fault"]

PYTHONS = SpecifierSet(">=3.11,<3.13")
EXTRAS = {"eeg": ("mne", "EEG files"), "tensorboard": ("tensorboard", "--tensorboard")}
"""By extra, what it brings, and what needs it."""
PLACES = {
    "VitalDB": "https://api.vitaldb.net/cases",
    "model hub": "https://huggingface.co/api/models?limit=1",
}
TIMEOUT_S = 3.0
LEAST_DISK_GB, LEAST_MEMORY_GB, LEAST_SHARED_GB = 5.0, 2.0, 0.25


@dataclass(frozen=True)
class Check:
    """One question, and its answer."""

    name: str
    state: State
    """`note` does not stop the work; `fault` does."""
    found: str
    advice: str = ""
    """What to do, where it is not `ok`."""


def examine(folder: Path) -> list[Check]:
    """Look at everything that the commands need.

    Args:
        folder: Where results are to go.
    """
    checks = [_python(), *_packages(), *_extras()]
    if find_spec("torch") is not None:
        checks += _compute(Machine.detect())
    checks += [_threads(), _memory(), *_shared_memory(), *_disk(folder), _data(), _configs()]
    return checks + _places()


def doctor(reporter: Reporter, *, folder: Path = Path(), as_json: bool = False) -> dict[str, Any]:
    """Say what is fit for the work, and what to do about the rest.

    Returns:
        The same as plain values.

    Raises:
        ConfigError: If something stops the work, after everything is said.
    """
    checks = examine(folder)
    faults = [check for check in checks if check.state == "fault"]
    said = {"biosig_version": __version__, "checks": [asdict(check) for check in checks]}
    if as_json:
        reporter.console.print_json(data=said)
    else:
        rows = [(check.name, check.state, check.found) for check in checks]
        reporter.table(f"biosig {__version__}", ("what", "state", "found"), rows)
        for check in checks:
            if check.advice:
                reporter.warn(f"{check.name}: {check.advice}")
    if faults:
        raise ConfigError(
            f"{len(faults)} of {len(checks)} checks failed: "
            f"{', '.join(check.name for check in faults)}",
            hint=faults[0].advice,
        )
    return said


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if PYTHONS.contains(found):
        return Check("python", "ok", found)
    advice = f"install Python {PYTHONS}, and biosig in an environment of it"
    return Check("python", "fault", found, advice)


def _packages() -> list[Check]:
    """Compare what is installed with what biosig declares, which is what is known to work."""
    try:
        declared = [Requirement(text) for text in requires("biosig") or ()]
    except PackageNotFoundError:
        advice = "install it: pip install biosig"
        return [Check("packages", "note", "biosig runs from a folder, not installed", advice)]
    checks = []
    needed = [each for each in declared if each.marker is None]
    for each in needed:
        try:
            found = version(each.name)
        except PackageNotFoundError:
            found = ""
        if not found or not each.specifier.contains(found, prereleases=True):
            what = f"{each.name} {found or 'is not installed'}"
            advice = f"biosig works with {each}: pip install '{each}'"
            checks.append(Check(each.name, "fault", what, advice))
    return checks or [Check("packages", "ok", f"all {len(needed)} in the versions declared")]


def _extras() -> list[Check]:
    checks = []
    for extra, (module, use) in EXTRAS.items():
        if find_spec(module) is not None:
            checks.append(Check(f"extra {extra}", "ok", module))
        else:
            advice = f"for {use}: pip install 'biosig[{extra}]'"
            checks.append(Check(f"extra {extra}", "note", f"no {module}", advice))
    return checks


def _compute(machine: Machine) -> list[Check]:
    import torch

    cuda = torch.version.cuda
    built = f"{torch.__version__}, {f'CUDA {cuda}' if cuda else 'without CUDA'}"
    checks = [Check("torch", "ok", built)]
    if not machine.gpus and shutil.which("nvidia-smi"):
        why = "torch is built without CUDA" if not cuda else "the driver is older than torch's CUDA"
        advice = f"{why}: install torch for your driver, see https://pytorch.org/get-started"
        checks = [Check("torch", "fault", f"{built}; nvidia-smi is there, no GPU found", advice)]
    asked = Environment()
    try:
        device = choose_device(asked.device or "auto", machine)
        precision = choose_precision(asked.precision or "auto", device.value, machine)
    except ConfigError as error:
        return [*checks, Check("device", "fault", str(error), f"BIOSIG_DEVICE: {error.hint}")]
    checks.append(Check("device", "ok", f"{device.value}: {device.why}"))
    return [*checks, Check("precision", "ok", f"{precision.value}: {precision.why}")]


def _threads() -> Check:
    n_cores = Machine.detect(devices=False).n_cores
    stated = os.environ.get("OMP_NUM_THREADS", "")
    found = f"{n_cores} cores" + (f", OMP_NUM_THREADS={stated}" if stated else "")
    if stated.isdigit() and int(stated) > n_cores:
        advice = f"more threads than cores wait for each other: export OMP_NUM_THREADS={n_cores}"
        return Check("threads", "note", found, advice)
    if stated == "1" and n_cores > 1:
        advice = "one thread trains slowly: unset OMP_NUM_THREADS, unless several runs share this"
        return Check("threads", "note", found, advice)
    return Check("threads", "ok", found)


def _memory() -> Check:
    free_gb = psutil.virtual_memory().available / 2**30
    found = f"{free_gb:.1f} GB free"
    if free_gb >= LEAST_MEMORY_GB:
        return Check("memory", "ok", found)
    advice = "close other programs, or take fewer --workers and a smaller --batch-size"
    return Check("memory", "fault", found, advice)


def _shared_memory() -> list[Check]:
    """Look at what `--num-workers` hands batches over in; containers have little of it."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return []
    size_gb = shutil.disk_usage(place).total / 2**30
    if size_gb >= LEAST_SHARED_GB:
        return [Check("shared memory", "ok", f"{size_gb:.1f} GB")]
    advice = "keep --num-workers 0, or start the container with --shm-size=1g"
    return [Check("shared memory", "note", f"{size_gb:.2f} GB", advice)]


def _disk(folder: Path) -> list[Check]:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"biosig")
            file.flush()
    except OSError as error:
        advice = "work in a folder that you may write to, or name one: --output-dir"
        return [Check("writing", "fault", f"{folder.resolve()}: {error.strerror}", advice)]
    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:.1f} GB free in {folder.resolve()}"
    if free_gb >= LEAST_DISK_GB:
        return [Check("writing", "ok", str(folder.resolve())), Check("disk", "ok", found)]
    advice = "a store of VitalDB takes tens of GB: free some, or work on another disk"
    return [Check("disk", "fault" if free_gb < 1 else "note", found, advice)]


def _data() -> Check:
    stated = Environment().data
    if stated is None:
        return Check("BIOSIG_DATA", "ok", "not set; recordings are named by --source")
    try:
        return Check("BIOSIG_DATA", "ok", f"{stated}: {open_source(stated).kind}")
    except BiosigError as error:
        return Check("BIOSIG_DATA", "fault", str(error), "set it to the folder of your recordings")


def _configs() -> Check:
    found = shipped_configs()
    if found:
        return Check("configs", "ok", f"{len(found)} shipped")
    advice = "the installation is not whole: pip install --force-reinstall biosig"
    return Check("configs", "fault", "none shipped", advice)


def _places() -> list[Check]:
    """Ask the places that data and weights come from, all at once."""
    with ThreadPoolExecutor(len(PLACES)) as pool:
        return list(pool.map(_place, PLACES, PLACES.values()))


def _place(name: str, url: str) -> Check:
    try:
        # Closed unread: it is the answer that counts.
        with requests.get(url, timeout=TIMEOUT_S, stream=True) as answer:
            if answer.ok:
                return Check(name, "ok", "answers")
            found = f"answers {answer.status_code}"
    except requests.RequestException as error:
        found = type(error).__name__
    advice = "work from local folders and weights, or set HTTPS_PROXY where there is a proxy"
    return Check(name, "note", f"{url.split('/')[2]}: {found}", advice)
