"""Two processes give what one gives, whatever the last batch; one writes; a dead one ends all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from biosig_cli.core.errors import ConfigError, InterruptedRunError, TrainingError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import LAST, load_checkpoint
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.stages import Stage
from tests.engine.small import Denoising, make, start_together
from tests.metrics import without_timings

# 65 windows in batches of 16: the last batch is one window, which only one process has.
PLAN = PlanConfig(epochs=4, batch_size=16, lr=0.01, warmup_epochs=1)
DOUBLE = PLAN.model_copy(update={"epochs": 40, "accumulate": 1})


def train_float32(folder: Path) -> None:
    make(folder, plan=PLAN, n_windows=65).fit()


def train_float64(folder: Path) -> None:
    make(folder, plan=DOUBLE, n_windows=65, trainable=Denoising(dtype=torch.float64)).fit()


def train_accumulating(folder: Path) -> None:
    plan = PLAN.model_copy(update={"batch_size": 8, "accumulate": 3})
    make(folder, plan=plan, n_windows=65).fit()


def train_less_than_processes(folder: Path) -> None:
    make(folder, plan=PLAN, n_windows=1).fit()


def train_in_stages(folder: Path) -> None:
    training = make(folder, plan=PLAN, n_windows=65)
    stages = [Stage("head", 2, 0.01, ("head.*",)), Stage("all", 2, 0.01)]
    type(training)(
        training.trainable, training.train_data, training.val_data, PLAN, training.run, stages
    ).fit()


def train_short_of_memory_in_one(folder: Path) -> None:
    class Hungry(Denoising):
        def forward(self, batch: Any) -> Any:
            if self.training and distributed.number() == 1 and len(batch) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(batch)

    make(folder, plan=PLAN, n_windows=65, trainable=Hungry()).fit()


def run_together(function: Any, folder: Path, n: int = 2) -> list[int]:
    processes = start_together(n, function, folder)
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():  # it hangs, and has no exit code
            process.kill()
    return codes


@pytest.mark.parametrize(
    ("train", "n_processes", "n_steps", "tolerance"),
    [
        (train_float32, 2, 20, 1e-6),
        (train_float32, 3, 20, 1e-6),
        (train_float64, 2, 200, 1e-12),
        (train_accumulating, 2, 12, 1e-6),
        (train_less_than_processes, 2, 4, 1e-6),
        (train_in_stages, 2, 20, 1e-6),
        (train_short_of_memory_in_one, 2, 20, 1e-6),
    ],
)
def test_several_processes_give_what_one_gives(
    tmp_path: Path, train: Any, n_processes: int, n_steps: int, tolerance: float
) -> None:
    train(tmp_path / "one")
    assert run_together(train, tmp_path / "many", n_processes) == [0] * n_processes
    one, many = (load_checkpoint(tmp_path / name / LAST) for name in ("one", "many"))
    assert one["position"]["step"] == many["position"]["step"] == n_steps
    for part in ("encoder_state_dict", "decoder_state_dict"):
        torch.testing.assert_close(one[part], many[part], atol=tolerance, rtol=0)
    history = many["position"]["history"]
    for name, values in one["position"]["history"].items():
        assert history[name] == pytest.approx(values, rel=1e-5), name
    assert set(history["val_in_order"]) == {1.0}, "outputs are gathered in the order of windows"


def test_one_process_writes(tmp_path: Path) -> None:
    assert run_together(train_float32, tmp_path / "run") == [0, 0]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows if "gradient_norm" in row] == list(range(1, 21))
    assert len(rows) == 24


def stop_after_seven(folder: Path) -> None:
    with pytest.raises(InterruptedRunError):
        make(folder, plan=PLAN, n_windows=65).fit(stop_after=7)


def resume(folder: Path) -> None:
    training = make(folder, plan=PLAN, n_windows=65)
    training.restore(load_checkpoint(folder / LAST))
    training.fit()


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2), (3, 2)])
def test_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, first: int, then: int
) -> None:
    train_float32(tmp_path / "straight")
    for number, function in ((first, stop_after_seven), (then, resume)):
        assert run_together(function, tmp_path / "run", number) == [0] * number
    contents = [load_checkpoint(tmp_path / name / LAST) for name in ("straight", "run")]
    for part in ("encoder_state_dict", "decoder_state_dict"):
        torch.testing.assert_close(contents[0][part], contents[1][part], atol=1e-6, rtol=0)


def resume_or_begin(folder: Path) -> None:
    training = make(folder, plan=PLAN, n_windows=65, trainable=Denoising(dropout=0.3))
    if (folder / LAST).exists():
        training.restore(load_checkpoint(folder / LAST))
    training.fit()


def stop_with_dropout(folder: Path) -> None:
    with pytest.raises(InterruptedRunError):
        make(folder, plan=PLAN, n_windows=65, trainable=Denoising(dropout=0.3)).fit(stop_after=7)


def test_resumed_with_as_many_processes_it_is_the_same_run_bit_for_bit(tmp_path: Path) -> None:
    run_together(resume_or_begin, tmp_path / "straight")
    run_together(stop_with_dropout, tmp_path / "run")
    run_together(resume_or_begin, tmp_path / "run")
    contents = [load_checkpoint(tmp_path / name / LAST) for name in ("straight", "run")]
    for part in ("encoder_state_dict", "decoder_state_dict"):
        torch.testing.assert_close(contents[0][part], contents[1][part], atol=0, rtol=0)
    logs = [without_timings(tmp_path / name) for name in ("straight", "run")]
    assert logs[0] == logs[1]


def signal_one(folder: Path) -> None:
    class Signalled(Denoising):
        n = 0

        def forward(self, batch: Any) -> Any:
            self.n += 1
            if self.n == 6 and distributed.number() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch)

    with pytest.raises(InterruptedRunError, match="after step 6"):
        make(folder, plan=PLAN, n_windows=65, trainable=Signalled()).fit()


def test_a_signal_to_one_stops_all_at_the_same_step(tmp_path: Path) -> None:
    assert run_together(signal_one, tmp_path) == [0, 0]
    assert load_checkpoint(tmp_path / LAST)["position"]["step"] == 6


def break_one(folder: Path) -> None:
    training = make(folder, plan=PLAN, n_windows=65)
    # The second process has the later half of each batch.
    row = int(training.train_data.plan(0)[1][-1])
    training.train_data.store.windows[row] = float("nan")  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=f"step 2: 1 of its 16 windows.*row {row},"):
        training.fit()


def test_all_stop_at_a_step_that_is_not_finite_in_one(tmp_path: Path) -> None:
    assert run_together(break_one, tmp_path) == [0, 0]
    assert len(json.loads((tmp_path / "bad_batch.json").read_text("utf-8"))["windows"]) == 16


def die_at_step_five(folder: Path) -> None:
    class Dying(Denoising):
        n = 0

        def forward(self, batch: Any) -> Any:
            self.n += 1
            if self.n == 5 and distributed.number() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(batch)

    try:
        make(folder, plan=PLAN, n_windows=500, trainable=Dying(), rescue_s=0.0).fit()
    except TrainingError as error:
        (folder / "said.txt").write_text(f"{error}\n{error.hint}", "utf-8")
        raise SystemExit(error.exit_code) from None


def test_a_dead_process_ends_the_others_with_a_message(tmp_path: Path) -> None:
    start_s = time.monotonic()
    assert run_together(die_at_step_five, tmp_path) == [5, -9]
    assert time.monotonic() - start_s < 30
    said = (tmp_path / "said.txt").read_text("utf-8")
    assert "process 1 of 2 lost another one" in said
    assert "--resume" in said
    assert load_checkpoint(tmp_path / LAST)["position"]["step"] == 4


def test_torchrun_ends_all_when_one_dies(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "dying.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom biosig_cli.engine import distributed\n"
        "from tests.engine.test_processes import die_at_step_five\n"
        "distributed.join('cpu')\ndie_at_step_five(Path(sys.argv[1]))\n",
        "utf-8",
    )
    start_s = time.monotonic()
    done = subprocess.run(
        [*line, script, tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode != 0
    assert time.monotonic() - start_s < 60
    assert "lost another one" in (tmp_path / "run" / "said.txt").read_text("utf-8")


def test_alone_each_function_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rows = torch.arange(5)
    assert distributed.n_processes() == 1
    assert distributed.is_first()
    assert distributed.join("cuda") == "cuda"
    assert distributed.share(rows) is not None
    assert torch.equal(distributed.share(rows), rows)
    assert distributed.gather(3) == [3]
    assert distributed.from_first(lambda: 4) == 4
    assert distributed.any_of(True)
    assert not distributed.any_of(False)
    distributed.heard(Reporter()).say("hello")
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(("n_rows", "n_parts"), [(10, 3), (2, 3), (0, 2), (16, 4)])
def test_parts_are_even_and_hold_each_row_once(n_rows: int, n_parts: int) -> None:
    parts = [distributed.part(list(range(n_rows)), n, n_parts) for n in range(n_parts)]
    assert [row for part in parts for row in part] == list(range(n_rows))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("device", "said"),
    [("mps", "can't share mps"), ("cuda:1", "can't share cuda:1"), ("cuda", "with 0 GPUs")],
)
def test_device_that_processes_can_not_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, said: str
) -> None:
    places = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=said):
        distributed.join(device)
    assert distributed.heard(Reporter()).console.quiet
