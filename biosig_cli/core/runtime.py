"""The machine: asked once what it has; every automatic choice comes with its reason."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
from pydantic_settings import BaseSettings, SettingsConfigDict

from biosig_cli.core.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
DRIVE = Path("/content/drive/MyDrive")
RECORDS_PER_WORKER = 20
ENOUGH_FILES = 8192
"""Files that a process need not have more open of; each mapped shard is one."""


class Environment(BaseSettings):
    """Settings that belong to the machine, not to a run: `BIOSIG_DATA`, `BIOSIG_DEVICE`, ..."""

    model_config = SettingsConfigDict(env_prefix="BIOSIG_", extra="ignore")

    data: str | None = None
    """Where recordings come from when `--source` is not given."""
    vitaldb_url: str = "https://api.vitaldb.net"
    """The server of VitalDB's open data set, or of a copy of it."""
    cache: Path | None = None
    """Folder that downloads are kept in when `--cache` is not given."""
    offline: bool | None = None
    """Download nothing, as `--offline`."""
    device: str | None = None
    precision: str | None = None
    num_workers: int | None = None
    subject_key: str = ""
    """Key of the pseudonyms of `--hash-subjects`; never written anywhere."""

    def values(self, *names: str) -> dict[str, object]:
        """Return those of the settings called `names` that are set; `source` is `data`."""
        given = self.model_dump(exclude_none=True)
        if "data" in given:
            given["source"] = given.pop("data")
        return {name: given[name] for name in names if name in given}


@dataclass(frozen=True)
class Gpu:
    """One CUDA device."""

    name: str
    capability: tuple[int, int]
    memory_gb: float


@dataclass(frozen=True)
class Machine:
    """What the machine has."""

    n_cores: int
    memory_gb: float
    gpus: tuple[Gpu, ...] = ()
    has_mps: bool = False
    cpu_flags: frozenset[str] = field(default_factory=frozenset)
    is_colab: bool = False
    drive: Path | None = None

    @classmethod
    def detect(cls, *, devices: bool = True) -> "Machine":
        """Look at this machine; without `devices`, at what needs no torch to see."""
        gpus, has_mps = _devices() if devices else ((), False)
        is_bound = hasattr(os, "sched_getaffinity")
        return cls(
            n_cores=len(os.sched_getaffinity(0)) if is_bound else os.cpu_count() or 1,
            memory_gb=psutil.virtual_memory().total / 2**30,
            gpus=gpus,
            has_mps=has_mps,
            cpu_flags=_cpu_flags(),
            is_colab="google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ,
            drive=DRIVE if DRIVE.is_dir() else None,
        )

    def describe(self) -> str:
        """Return the machine in one line."""
        place = "Colab" if self.is_colab else "this machine"
        drive = ", Drive mounted" if self.drive else ""
        gpus = "".join(f", {gpu.name} ({gpu.memory_gb:.0f} GB)" for gpu in self.gpus)
        return f"{place}{drive}: {self.n_cores} cores, {self.memory_gb:.0f} GB{gpus}"


@dataclass(frozen=True)
class Choice:
    """A value and why it was taken."""

    value: str
    why: str


def choose_device(asked: str, machine: Machine) -> Choice:
    """Return the device to use: what was asked for, or with `auto` the best there is.

    Raises:
        ConfigError: If what was asked for is not there; only `auto` chooses.
    """
    if asked == "auto":
        if machine.gpus:
            gpu = machine.gpus[0]
            return Choice("cuda", f"{gpu.name}, CUDA capability {_dotted(gpu.capability)}")
        skipped = "; mps is taken only when asked for" if machine.has_mps else ""
        return Choice("cpu", f"no CUDA device{skipped}")
    kind, _, index = asked.partition(":")
    if kind == "cpu" and not index:
        return Choice("cpu", "asked for")
    if kind == "mps" and not index:
        if machine.has_mps:
            return Choice("mps", "asked for")
        raise ConfigError("device mps is not available here", hint="use --device auto or cpu")
    if kind != "cuda" or not (index.isdigit() or not index):
        raise ConfigError(
            f"unknown device {asked!r}", hint="expected auto, cpu, cuda, cuda:N or mps"
        )
    if int(index or 0) >= len(machine.gpus):
        raise ConfigError(
            f"device {asked} is not available: {len(machine.gpus)} CUDA devices found",
            hint="use --device auto or cpu, or check the driver with nvidia-smi",
        )
    return Choice(asked, "asked for")


def choose_precision(asked: str, device: str, machine: Machine) -> Choice:
    """Return the precision to compute in; losses are in float32 whatever it is.

    Raises:
        ConfigError: If it is unknown, or the device can't do it.
    """
    best = _best_precision(device, machine)
    if asked == "auto":
        return best
    if asked not in ("fp32", "bf16", "fp16"):
        raise ConfigError(f"unknown precision {asked!r}", hint="expected auto, fp32, bf16 or fp16")
    if asked == "fp16" and not device.startswith("cuda"):
        raise ConfigError(
            f"fp16 needs a CUDA device, this run is on {device}", hint="use bf16 or fp32"
        )
    return Choice(asked, "asked for")


def _best_precision(device: str, machine: Machine) -> Choice:
    if device.startswith("cuda"):
        gpu = machine.gpus[int(device.partition(":")[2] or 0)]
        reason = f"{gpu.name} has CUDA capability {_dotted(gpu.capability)}"
        if gpu.capability >= (8, 0):
            return Choice("bf16", f"{reason}, bf16 units from 8.0 on")
        if gpu.capability >= (7, 0):
            return Choice("fp16", f"{reason}, no bf16 units; fp16 with a loss scaler")
        return Choice("fp32", f"{reason}, no half-precision units")
    units = machine.cpu_flags & {"avx512_bf16", "amx_bf16"}
    if device == "cpu" and units:
        return Choice("bf16", f"the processor has {', '.join(sorted(units))}")
    return Choice("fp32", f"no bf16 units on this {device}")


def choose_workers(asked: int | None, n_records: int, machine: Machine) -> Choice:
    """Return how many processes read records at a time: at most one per core.

    A process takes about as long to start as twenty short records take to read.
    """
    if asked is not None:
        return Choice(str(asked), "asked for")
    n_workers = max(1, min(machine.n_cores, n_records // RECORDS_PER_WORKER))
    return Choice(str(n_workers), f"{n_records} records, {machine.n_cores} cores")


def choose_folder(default: Path, machine: Machine) -> Choice:
    """Return where results go when no folder was asked for."""
    if machine.is_colab and machine.drive:
        return Choice(str(machine.drive / "biosig" / default), "Drive outlives the Colab session")
    return Choice(str(default), "the default")


def choose_cache(asked: Path | None, machine: Machine) -> Choice:
    """Return the folder that downloads are kept in, for all projects on the machine."""
    if asked is not None:
        return Choice(str(asked.expanduser()), "asked for")
    if machine.is_colab and machine.drive:
        return Choice(str(machine.drive / "biosig" / "cache"), "Drive outlives the Colab session")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Choice(str(home / "biosig"), "the default; BIOSIG_CACHE or --cache names another")


def allow_open_files() -> int:
    """Return how many files this process may have open, after asking for as many as it may have."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return ENOUGH_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if 0 <= soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return ENOUGH_FILES if soft < 0 else soft


def peak_memory_gb() -> float:
    """Return the most memory that this process held."""
    import resource  # not on Windows, where the commands that ask do not run

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _devices() -> tuple[tuple[Gpu, ...], bool]:
    """Return the CUDA devices, and whether there is an Apple GPU."""
    import torch

    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    gpus = (Gpu(p.name, (p.major, p.minor), p.total_memory / 2**30) for p in properties)
    return tuple(gpus), torch.backends.mps.is_available()


def _cpu_flags() -> frozenset[str]:
    """Return the processor's feature flags, where the system tells them (Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())
