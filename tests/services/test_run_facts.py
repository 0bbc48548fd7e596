"""A run folder is read without torch, whatever state it was left in."""

import subprocess
import sys
from pathlib import Path

import pytest

from biosig_cli.core.artifacts import hold
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.engine import checkpoint
from biosig_cli.services.run_facts import find_runs, read_run
from tests.services.past import write_run


def test_finished_run_knows_its_best_epoch_and_its_time(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run"))
    assert (run.command, run.state, run.n_epochs) == ("pretrain", "finished", 3)
    assert (run.monitor, run.best_epoch, run.best) == ("val_auroc", 2, 0.9)
    assert run.at_best("val_loss") == 0.9
    assert run.duration_s == 75.0
    assert run.how_to_resume == ""


def test_stopped_run_knows_its_best_so_far_and_how_to_go_on(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", ended=False, n_epochs=2))
    assert (run.state, run.n_epochs, run.n_planned) == ("unfinished", 2, 3)
    assert (run.best_epoch, run.best) == (2, 0.9)
    assert run.how_to_resume == f"biosig pretrain --output-dir {tmp_path / 'run'} --resume"


def test_lower_is_better_where_it_is_a_loss(tmp_path: Path) -> None:
    said = {"monitor": "loss", "higher_is_better": False, "ended": False}
    run = read_run(write_run(tmp_path / "run", **said))
    assert (run.monitor, run.best_epoch, run.best) == ("val_loss", 3, 0.7)


def test_run_without_a_manifest_is_read_from_what_there_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "manifest.json").unlink()
    run = read_run(folder)
    assert (run.command, run.state, run.monitor) == ("pretrain", "unfinished", "val_loss")
    assert run.began is not None


def test_run_that_was_stopped_before_its_first_epoch_has_no_best(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", ended=False, n_epochs=0))
    assert (run.state, run.best_epoch, run.best, run.n_epochs) == ("unfinished", 0, None, 0)


def test_run_that_a_process_is_at_is_running(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ended=False)
    with (folder / "metrics.jsonl").open("a") as file:
        hold(file)
        run = read_run(folder)
    assert (run.state, run.how_to_resume) == ("running", "")
    assert read_run(folder).state == "unfinished"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("training_config.json", "training_config.json can't be read"),
        ("training_history.json", "training_history.json can't be read"),
        ("last_model.pt", "last_model.pt is not whole"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, said: str) -> None:
    folder = write_run(tmp_path / "run", ended=False)
    file = folder / name
    file.write_bytes(file.read_bytes()[:20])
    run = read_run(folder)
    assert (run.state, run.problems) == ("damaged", (said,))
    (folder / "last_model.pt").unlink()
    assert read_run(folder).state == "damaged"


def test_checkpoint_that_is_half_written_is_no_damage(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ended=False)
    (folder / f".{checkpoint.LAST}.x1.pt").write_bytes(b"half")
    assert read_run(folder).state == "unfinished"


def test_runs_are_found_at_any_depth_those_begun_first_before_others(tmp_path: Path) -> None:
    write_run(tmp_path / "b" / "later", started_at="2026-03-01T00:00:00+00:00")
    write_run(tmp_path / "a" / "deep" / "first", started_at="2026-02-01T00:00:00+00:00")
    (tmp_path / "no_run").mkdir()
    assert [run.folder.name for run in find_runs(tmp_path)] == ["first", "later"]
    with pytest.raises(DataError, match="nowhere"):
        find_runs(tmp_path / "nowhere")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert read_run(folder / "last_model.pt").folder == folder
    with pytest.raises(ConfigError, match=r"is no run: it has no training_config.json") as caught:
        read_run(tmp_path)
    assert "biosig runs" in caught.value.hint
    with pytest.raises(ConfigError, match="is not there"):
        read_run(tmp_path / "nowhere")


def test_listing_and_comparing_load_no_torch(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "one"), write_run(tmp_path / "two")
    lines = [["runs", str(tmp_path)], ["runs", "compare", str(first), str(second)]]
    code = f"import sys; from biosig_cli.cli import run; codes = [run(x) for x in {lines}]; "
    code += "sys.exit(any(codes) or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
