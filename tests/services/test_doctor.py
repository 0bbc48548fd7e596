"""Each planted fault is found by `biosig doctor`, which says what to do about it."""

import json
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Gpu, Machine
from biosig_cli.services import doctor as services_doctor
from biosig_cli.services import doctor_models
from biosig_cli.services.doctor import Check, doctor, examine

Usage = namedtuple("Usage", "total used free")
GB = 10**9


class Answer:
    """What a place on the network says."""

    ok, status_code = True, 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.fixture(autouse=True)
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without a fault, whatever this one is."""
    for name in ("BIOSIG_DEVICE", "BIOSIG_PRECISION", "BIOSIG_DATA", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    machine = Machine(n_cores=2, memory_gb=16.0)
    monkeypatch.setattr(Machine, "detect", classmethod(lambda cls, **_: machine))
    monkeypatch.setattr(services_doctor, "requires", lambda _: ["numpy>=1.0"])
    monkeypatch.setattr(services_doctor, "find_spec", lambda name: name)
    monkeypatch.setattr(services_doctor.shutil, "which", lambda _: None)
    usage = Usage(100 * GB, 0, 100 * GB)
    monkeypatch.setattr(services_doctor.shutil, "disk_usage", lambda _: usage)
    memory = SimpleNamespace(available=16 * GB)
    monkeypatch.setattr(services_doctor.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(requests, "get", lambda *_, **__: Answer())
    return monkeypatch


def found(folder: Path, name: str) -> Check:
    (check,) = [check for check in examine(folder) if check.name == name]
    return check


def test_fit_machine_has_nothing_to_do(tmp_path: Path) -> None:
    checks = examine(tmp_path)
    assert {check.state for check in checks} == {"ok"}
    assert not any(check.advice for check in checks)


def raises(error: Exception):
    def call(*_, **__):
        raise error

    return call


def no_package(_):
    raise metadata.PackageNotFoundError


def plant(patch: pytest.MonkeyPatch, fault: str, folder: Path) -> None:
    service = services_doctor
    if fault == "old python":
        patch.setattr(sys, "version_info", (3, 9, 1))
    elif fault == "wrong version":
        patch.setattr(service, "requires", lambda _: ["numpy<1.0"])
    elif fault == "package gone":
        patch.setattr(service, "requires", lambda _: ["torch>=2.5"])
        patch.setattr(service, "version", no_package)
    elif fault == "no mne":
        patch.setattr(service, "find_spec", lambda name: None if name == "mne" else name)
    elif fault == "torch without the GPU":
        patch.setattr(service.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    elif fault == "device asked for":
        patch.setenv("BIOSIG_DEVICE", "cuda:3")
    elif fault == "precision asked for":
        patch.setenv("BIOSIG_PRECISION", "fp16")
    elif fault == "too many threads":
        patch.setenv("OMP_NUM_THREADS", "64")
    elif fault == "one thread":
        patch.setenv("OMP_NUM_THREADS", "1")
    elif fault == "no memory":
        memory = SimpleNamespace(available=GB)
        patch.setattr(service.psutil, "virtual_memory", lambda: memory)
    elif fault == "small shared memory":
        small = Usage(64e6, 0, 64e6)
        patch.setattr(
            service.shutil,
            "disk_usage",
            lambda place: small if str(place) == "/dev/shm" else Usage(100 * GB, 0, 100 * GB),
        )
    elif fault == "full disk":
        patch.setattr(service.shutil, "disk_usage", lambda _: Usage(10 * GB, 9.9 * GB, 0.1 * GB))
    elif fault == "read-only folder":
        error = PermissionError(13, "Permission denied")
        patch.setattr(service.tempfile, "NamedTemporaryFile", raises(error))
    elif fault == "no recordings":
        patch.setenv("BIOSIG_DATA", str(folder / "gone"))
    elif fault == "no configs":
        patch.setattr(service, "shipped_configs", dict)
    elif fault == "no network":
        patch.setattr(requests, "get", raises(requests.ConnectTimeout()))


FAULTS = [
    ("old python", "python", "fault", "install Python"),
    ("wrong version", "numpy", "fault", "pip install 'numpy<1.0'"),
    ("package gone", "torch", "fault", "pip install 'torch>=2.5'"),
    ("no mne", "extra eeg", "note", "pip install 'biosig[eeg]'"),
    ("torch without the GPU", "torch", "fault", "pytorch.org"),
    ("device asked for", "device", "fault", "--device auto or cpu"),
    ("precision asked for", "device", "fault", "bf16 or fp32"),
    ("too many threads", "threads", "note", "OMP_NUM_THREADS=2"),
    ("one thread", "threads", "note", "unset OMP_NUM_THREADS"),
    ("no memory", "memory", "fault", "--batch-size"),
    ("small shared memory", "shared memory", "note", "--shm-size"),
    ("full disk", "disk", "fault", "free some"),
    ("read-only folder", "writing", "fault", "--output-dir"),
    ("no recordings", "BIOSIG_DATA", "fault", "folder of your recordings"),
    ("no configs", "configs", "fault", "--force-reinstall"),
    ("no network", "VitalDB", "note", "HTTPS_PROXY"),
]


@pytest.mark.parametrize(("fault", "name", "state", "advice"), FAULTS)
def test_planted_fault_is_found_and_said_what_to_do(
    fault: str, name: str, state: str, advice: str, fit: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(fit, fault, tmp_path)
    checks = [check for check in examine(tmp_path) if check.state != "ok"]
    check = next(check for check in checks if check.name == name)
    assert check.state == state
    assert advice in check.advice
    if state == "fault":
        with pytest.raises(ConfigError, match="checks failed"):
            doctor(Reporter(silent=True), folder=tmp_path)
    else:
        doctor(Reporter(silent=True), folder=tmp_path)


def test_gpu_tells_the_precision_and_why(fit: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(n_cores=2, memory_gb=16.0, gpus=(Gpu("Tesla T4", (7, 5), 15.0),))
    fit.setattr(Machine, "detect", classmethod(lambda cls, **_: machine))
    assert found(tmp_path, "precision").found.startswith("fp16: Tesla T4 has CUDA capability 7.5")


def test_json_is_for_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"name", "state", "found", "advice"} == set(said["checks"][0])


def test_every_family_takes_a_step() -> None:
    torch_families = {t.name: t for t in doctor_models.try_models(Reporter(silent=True))}
    ttm, eeg = torch_families["ssl_pretrain"], torch_families["eeg_phase1b"]
    assert (ttm.tokens, ttm.hidden) == ((4, 2, 10, 192), "8 of 20")
    assert eeg.hidden == "40 of 80"
    assert torch_families["ppg_autoencoder"].tokens[1] == 1
    assert all(t.lr > 0 and t.n_decoder > 0 for t in torch_families.values())


def test_family_that_does_not_build_is_named_after_the_others(fit: pytest.MonkeyPatch) -> None:
    whole = doctor_models.families()
    wrong = whole["ssl_pretrain"].model_copy(update={"n_samples": 1249})
    fit.setattr(doctor_models, "families", lambda: {"ssl_pretrain": wrong})
    with pytest.raises(ConfigError, match="1 families do not train here: ssl_pretrain"):
        doctor_models.try_models(Reporter(silent=True))
