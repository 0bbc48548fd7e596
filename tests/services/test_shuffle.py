"""A store larger than memory is read a few shards at a time, and a run keeps the order it had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from biosig_cli.cli import run
from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Machine
from biosig_cli.data import parts
from biosig_cli.data.store import open_split
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.services import training
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.training import choose_shuffle
from tests.stores import write_clean

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
QUIET = Reporter(silent=True)
SMALL = TtmConfig(width=16, n_layers=2, n_levels=1)


def machine(memory_gb: float) -> Machine:
    return Machine(n_cores=2, memory_gb=memory_gb)


@pytest.mark.parametrize(
    ("asked", "share", "chosen", "advice"),
    [
        ("auto", 10, "windows", None),
        ("auto", 1, "shards", "MADV_WILLNEED"),
        ("shards", 10, "shards", "MADV_WILLNEED"),
        ("windows", 1, "windows", "MADV_RANDOM"),
    ],
)
def test_memory_decides_unless_an_order_is_asked_for(
    windows: Path, asked: str, share: float, chosen: str, advice: str | None
) -> None:
    store = open_split(windows, "train")
    memory_gb = share * store.n_bytes / 2**30
    assert choose_shuffle(asked, [store], machine(memory_gb), QUIET) == chosen
    assert store._advice == advice


def test_windows_in_memory_are_never_read_by_shard(windows: Path) -> None:
    store = open_split(windows, "train", in_memory=True)
    assert choose_shuffle("auto", [store], machine(1e-9), QUIET) == "windows"


def config(windows: Path, folder: Path, **changes: object) -> PretrainConfig:
    plan = {"epochs": 1, "batch_size": 8, "warmup_epochs": 0} | changes.pop("plan", {})  # type: ignore[operator]
    settings = {"windows": windows, "output_dir": folder, "model": SMALL, "device": "cpu"}
    return PretrainConfig.parse(settings | {"plan": plan} | changes)


def test_a_run_keeps_its_order_and_says_so(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(config(windows, tmp_path / "run", shuffle="shards"), Reporter())
    assert "16 shards at a time" in capsys.readouterr().out
    assert read_json(tmp_path / "run" / "training_config.json")["shuffle"] == "shards"
    with pytest.raises(ConfigError, match="shuffle: 'shards' then, 'windows' now"):
        pretrain(config(windows, tmp_path / "run"), QUIET, resume=True)
    pretrain(config(windows, tmp_path / "run", shuffle="shards"), QUIET, resume=True)


def test_a_run_from_before_there_was_a_choice_goes_on(windows: Path, tmp_path: Path) -> None:
    before = config(windows, tmp_path).dump()
    del before["shuffle"]
    now = config(windows, tmp_path, shuffle="windows").dump()
    training.refuse_changes(before, now, tmp_path, QUIET, anyway=False)
    with pytest.raises(ConfigError, match="shuffle"):
        training.refuse_changes(before, now | {"shuffle": "shards"}, tmp_path, QUIET, anyway=False)


def test_the_flag_reaches_the_run(windows: Path, tmp_path: Path) -> None:
    size = ["model.width=16", "model.n_layers=2", "model.n_levels=1"]
    line = ["pretrain", "--data-dir", str(windows), "--output-dir", str(tmp_path / "run")]
    line += ["--epochs", "1", "--device", "cpu", "--shuffle", "shards", "--max-windows", "8"]
    assert run(line + [part for each in size for part in ("--set", each)]) == 0
    assert read_json(tmp_path / "run" / "training_config.json")["shuffle"] == "shards"


LOOKED_AT = """
import json, os, sys
from pathlib import Path
from biosig_cli.cli import run
from biosig_cli.data import loader
from biosig_cli.services import training

training.N_SHARDS = 2
read = loader._Reader.__getitem__
file = Path(sys.argv.pop(1)) / os.environ["RANK"]


def look(self, portion):
    with file.open("a") as seen:
        if self.loaders[portion.part].shuffle:
            seen.write(json.dumps([portion.epoch, portion.rows.tolist()]) + "\\n")
    return read(self, portion)


loader._Reader.__getitem__ = look
sys.exit(run(sys.argv[1:]))
"""


def test_two_processes_read_each_window_of_mixed_shards_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SHARD_BYTES", 7 * 2 * 1250 * 2)  # seven windows
    write_clean(tmp_path / "windows")
    store = open_split(tmp_path / "windows", "train")
    assert len(store.manifest["shards"]) > 4
    script, seen = tmp_path / "looked_at.py", tmp_path / "seen"
    script.write_text(LOOKED_AT, "utf-8")
    seen.mkdir()
    line = [sys.executable, *TORCHRUN, str(script), str(seen)]
    line += ["pretrain", "--data-dir", str(tmp_path / "windows"), "--shuffle", "shards"]
    line += ["--output-dir", str(tmp_path / "run"), "--epochs", "2", "--batch-size", "5"]
    line += ["--device", "cpu", "--precision", "fp32", "--num-workers", "0"]
    for size in ("width=16", "n_layers=2", "n_levels=1"):
        line += ["--set", f"model.{size}"]
    places = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(2):  # the port that torchrun chose may be taken before it is used
        done = subprocess.run(
            line, env=os.environ | places, capture_output=True, text=True, check=False
        )
        if "can't be reached" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "2 shards at a time" in done.stdout
    each = [
        [json.loads(text) for text in (seen / rank).read_text("utf-8").splitlines()]
        for rank in ("0", "1")
    ]
    orders = []
    for epoch in sorted({epoch for epoch, _ in each[0]})[-2:]:
        rows = [[rows for at, rows in reads if at == epoch] for reads in each]
        together = [row for batch in zip(*rows, strict=True) for part in batch for row in part]
        assert sorted(together) == list(range(len(store)))
        assert all(abs(len(one) - len(other)) <= 1 for one, other in zip(*rows, strict=True))
        orders.append(together)
    assert orders[0] != orders[1]
