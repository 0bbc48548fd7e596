"""Device, precision and workers are chosen with a reason, or refused."""

from pathlib import Path

import pytest

from biosig_cli.core.errors import ConfigError
from biosig_cli.core.runtime import (
    Environment,
    Gpu,
    Machine,
    allow_open_files,
    choose_cache,
    choose_device,
    choose_folder,
    choose_precision,
    choose_workers,
)

T4 = Gpu("Tesla T4", (7, 5), 15.0)
H200 = Gpu("NVIDIA H200", (9, 0), 139.0)
LAPTOP = Machine(n_cores=8, memory_gb=16.0, has_mps=True)
COLAB = Machine(2, 12.7, gpus=(T4,), is_colab=True, drive=Path("/content/drive/MyDrive"))


def test_colab_with_a_t4_gets_cuda_in_fp16_and_its_drive() -> None:
    device = choose_device("auto", COLAB)
    precision = choose_precision("auto", device.value, COLAB)
    assert (device.value, precision.value) == ("cuda", "fp16")
    assert "Tesla T4" in device.why
    assert "7.5" in precision.why
    assert choose_folder(Path("artifacts/run"), COLAB).value == str(
        COLAB.drive / "biosig/artifacts/run"
    )
    assert choose_folder(Path("artifacts/run"), LAPTOP).value == "artifacts/run"
    assert COLAB.describe() == "Colab, Drive mounted: 2 cores, 13 GB, Tesla T4 (15 GB)"


def test_hopper_gets_bf16() -> None:
    machine = Machine(16, 128.0, gpus=(H200,))
    assert choose_precision("auto", "cuda", machine).value == "bf16"


def test_second_gpu_is_judged_by_itself() -> None:
    machine = Machine(16, 128.0, gpus=(H200, T4))
    assert choose_precision("auto", "cuda:1", machine).value == "fp16"


def test_auto_does_not_take_mps_and_says_so() -> None:
    choice = choose_device("auto", LAPTOP)
    assert choice.value == "cpu"
    assert "mps" in choice.why
    assert choose_device("mps", LAPTOP).value == "mps"


def test_cpu_computes_in_bf16_only_with_units_for_it() -> None:
    fast = Machine(2, 24.0, cpu_flags=frozenset({"avx512_bf16", "sse"}))
    assert choose_precision("auto", "cpu", fast).value == "bf16"
    assert choose_precision("auto", "cpu", LAPTOP).value == "fp32"


@pytest.mark.parametrize("asked", ["cuda", "cuda:1", "tpu", "cuda:x", "cpu:0", "mps"])
def test_device_that_is_not_there_is_refused(asked: str) -> None:
    with pytest.raises(ConfigError):
        choose_device(asked, Machine(2, 24.0))


def test_gpu_index_beyond_the_last_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 CUDA devices found"):
        choose_device("cuda:1", COLAB)


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device"):
        choose_precision("fp16", "cpu", LAPTOP)
    with pytest.raises(ConfigError, match="unknown precision"):
        choose_precision("fp8", "cpu", LAPTOP)


def test_workers_are_worth_starting_or_as_asked_for() -> None:
    assert choose_workers(None, 10, LAPTOP).value == "1"
    assert choose_workers(None, 60, LAPTOP).value == "3"
    assert choose_workers(None, 6000, LAPTOP).value == "8"
    assert choose_workers(3, 10, LAPTOP).value == "3"


def test_environment_gives_the_source_and_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOSIG_DATA", "recordings")
    monkeypatch.setenv("BIOSIG_DEVICE", "cpu")
    assert Environment().values("source", "device") == {"source": "recordings", "device": "cpu"}
    assert Environment().values("device") == {"device": "cpu"}


def test_this_machine_is_described() -> None:
    machine = Machine.detect()
    assert machine.n_cores >= 1
    assert machine.memory_gb > 0.1


def test_downloads_have_a_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert choose_cache(None, LAPTOP).value == "/somewhere/biosig"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert choose_cache(None, LAPTOP).value == str(Path.home() / ".cache/biosig")
    assert choose_cache(None, COLAB).value == str(COLAB.drive / "biosig/cache")
    assert choose_cache(Path("here"), COLAB).value == "here"


def test_as_many_files_may_be_open_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    limits = {"now": (100, 1000)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.update(now=new))
    assert allow_open_files() == 1000
    assert limits["now"] == (1000, 1000)
    limits["now"] = (100, resource.RLIM_INFINITY)
    assert allow_open_files() == limits["now"][0] == 8192
    limits["now"] = (20_000, 20_000)
    assert allow_open_files() == 20_000
