"""A small store of windows, made by the commands that users make theirs with."""

from pathlib import Path

import numpy as np
import pytest

from biosig_cli.core.progress import Reporter
from biosig_cli.services import split_store
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from tests.recordings import write_case
from tests.stores import cut, spec_of, write_store


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with stores `train`, `val` and `test` of PPG + ECG windows."""
    folder = tmp_path_factory.mktemp("chain")
    for number in range(7):
        write_case(folder / "source", f"{number}", duration_s=60.0, rate_bpm=60.0 + 7 * number)
    quiet = Reporter(silent=True)
    splits = prepare_splits(
        PrepareSplitsConfig(source=str(folder / "source"), output=folder), quiet
    )
    config = BuildWindowsConfig(split_file=splits.path, outdir=folder / "windows", workers=1)
    build_windows(config, quiet)
    return folder / "windows"


SMALL = {"width": 16, "n_layers": 2, "n_levels": 1}
"""An encoder that trains in a second."""


@pytest.fixture(scope="session")
def encoder_run(windows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small encoder, pretrained on PPG + ECG for an epoch."""
    folder = tmp_path_factory.mktemp("encoder") / "run"
    plan = {"epochs": 1, "batch_size": 16, "warmup_epochs": 0}
    settings = {"windows": windows, "output_dir": folder, "model": SMALL, "plan": plan}
    pretrain(PretrainConfig.parse(settings | {"device": "cpu"}), Reporter(silent=True))
    return folder


def labelled_windows(number: int, names: tuple[str, ...]):
    """Return ten windows of a person: even ones are a pulse (good), odd ones are noise (poor).

    Half of them are labelled 1; the heart rate is that of the pulse, in all of them.
    """
    draw = np.random.default_rng(number)
    spec = spec_of(names=names)
    rate_hz = 1.0 + 0.1 * number
    moment_s = np.arange(10 * spec.n_samples) / spec.sampling_hz
    pulse = np.sin(2 * np.pi * rate_hz * moment_s) + 0.5 * np.sin(4 * np.pi * rate_hz * moment_s)
    noise = draw.normal(size=(len(names), len(moment_s)))
    is_good = (moment_s // 10).astype(int) % 2 == 0
    samples = np.where(is_good, pulse + 0.1 * noise, noise)
    record = cut(f"r{number}", f"p{number}", samples, spec)
    record.columns["label_quality"] = np.tile([1.0, 0.0], 5).astype(np.float32)
    record.columns["label_hr"] = np.full(10, 60 * rate_hz, np.float32)
    record.columns["subject_age"] = np.full(10, 20.0 + 5 * number, np.float32)
    record.columns["subject_sex"] = np.full(10, number % 2, np.float32)
    return record


def write_labelled(folder: Path, names: tuple[str, ...] = ("ACC_X", "PPG", "ECG")) -> Path:
    """Write train, val and test of five, three and three people, with labels and attributes."""
    number = 0
    facts = {
        "labels": {"quality": {"values": {}}, "hr": {"unit": "bpm"}},
        "attributes": {"age": {}, "sex": {"values": {"F": 0, "M": 1}}},
        "source": {"kind": "made for tests"},
    }
    for split, n_people in {"train": 5, "val": 3, "test": 3}.items():
        records = [labelled_windows(number + each, names) for each in range(n_people)]
        number += n_people
        write_store(folder / split, records, spec_of(names=names), **facts)
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with labelled windows of an accelerometer axis, PPG and ECG."""
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(autouse=True)
def pages_are_drawn_where_they_are_tested(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave the page about quality out elsewhere: it takes longer than the windows of a test."""
    if not request.module.__name__.endswith("test_windows_report"):
        monkeypatch.setattr(split_store, "write_quality", lambda *_, **__: None)
