"""The whole road of EEG by its commands: phase 1b, phase 2, both challenges, evaluation.

Events and people are those of HBN; the recordings are noise, with something planted: a course that
everybody has over a movie, and a bump before each press of a button.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.cli import run
from biosig_cli.core.errors import CheckpointError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.services.evaluate_models import open_candidates
from biosig_cli.services.submission import SubmissionConfig, Submitted, write_submission
from biosig_cli.signal.normalize import normalize, pooled_scale
from biosig_cli.tasks.base import Answering
from tests.eeg_recordings import write_hbn

NAMES = ("E22", "E9", "E75", "Cz")
TASKS = ("DespicableMe", "contrastChangeDetection_run-1")
N_PEOPLE, N_HELD_OUT = 14, 2
SMALL = ["--set", "model.width=16", "--set", "model.n_layers=2", "--set", "model.n_heads=2"]
QUICK = ["--device", "cpu", "--precision", "fp32", "--warmup-epochs", "0"]


def plant(onsets, signals, sampling_hz):
    """Add what the movie does to everybody, and a bump before each press."""
    course = np.random.default_rng(5).normal(size=(2, 40_000))
    course = np.stack([np.convolve(each, np.hanning(25), "same") for each in course])
    course *= 10 / course.std()
    bump = 40 * np.hanning(30)
    for onset_s, event in onsets:
        if event == "video_start":
            start = round(onset_s * sampling_hz)
            n = min(signals.shape[1] - start, course.shape[1])
            signals[::2, start : start + n] += course[:, :n]
        if event.endswith("_buttonPress"):
            start = round((onset_s - 0.15) * sampling_hz)
            n = min(signals.shape[1] - start, len(bump))
            signals[1, start : start + n] += bump[:n]


def people_of(source: Path) -> list[str]:
    """Return children who saw the movie, did the task, and whose scores are known."""
    head, *rows = (source / "participants.tsv").read_text("utf-8").splitlines()
    place = head.split("\t").index("externalizing")
    known = [row.split("\t")[0] for row in rows if row.split("\t")[place] != "n/a"]
    there = [
        who
        for who in sorted(known)
        if all((source / who / "eeg" / f"{who}_task-{task}_events.tsv").is_file() for task in TASKS)
    ]
    return there[:N_PEOPLE]


def did(*arguments: object) -> None:
    assert run([str(each) for each in arguments]) == 0


@pytest.fixture(scope="module")
def road(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which every step was taken by its command."""
    folder = tmp_path_factory.mktemp("road")
    source, windows = real_data / "hbn_r1", folder / "windows"
    people = people_of(source)
    for task in TASKS:
        write_hbn(source, folder / "hbn", people, names=NAMES, tasks=task, plant=plant)
    table = folder / "hbn" / "participants.tsv"
    held_out = people[-N_HELD_OUT:]
    lines = [
        line.replace("\tR1\t", "\tR5\t") if line.split("\t")[0] in held_out else line
        for line in table.read_text("utf-8").splitlines()
    ]
    table.write_text("\n".join(lines), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for drawn in ("draw_some", "write_quality"):
            patch.setattr(f"biosig_cli.services.split_store.{drawn}", lambda *_, **__: None)
        patch.setattr("biosig_cli.services.evaluate.write_evaluation_page", lambda *_, **__: None)
        patch.setattr("biosig_cli.services.evaluate.gather_material", lambda *_, **__: None)
        did("prepare-splits", "--config", "eeg_hbn", "--source", folder / "hbn", "--output", folder)
        did(
            *("build-windows", "--config", "eeg_hbn", "--outdir", windows),
            *("--split-file", folder / "splits_full.json", "--workers", 1),
            *("--set", f"channels.EEG.electrodes=[{','.join(NAMES)}]"),
        )
        did(
            *("pretrain", "--config", "eeg_phase1b", "--data-dir", windows),
            *("--output-dir", folder / "phase1b", "--epochs", 1, "--lr", 2e-3, *SMALL, *QUICK),
            *("--set", "probe=null"),
        )
        did(
            *("pretrain", "--config", "eeg_phase2", "--init-from", folder / "phase1b"),
            *("--data-dir", windows, "--output-dir", folder / "phase2", *QUICK),
            *("--epochs", 14, "--lr", 3e-3, "--set", "move.frozen_epochs=1"),
            *("--set", "move.encoder_lr=1", "--save-every", 20),
        )
        for number, epochs in ((1, 12), (2, 1)):
            did(
                *("finetune", "--config", f"eeg_challenge{number}", "--data-dir", windows),
                *("--pretrained", folder / "phase2", "--output-dir", folder / f"c{number}"),
                *("--epochs", epochs, "--batch-size", 16, "--lr", 3e-3, *QUICK),
            )
            did("evaluate", "--checkpoint", folder / f"c{number}", "--folds", 0, "--device", "cpu")
    return folder


def metrics(road: Path, name: str) -> dict:
    return json.loads((road / name / "test_metrics.json").read_text("utf-8"))


def test_phase_two_starts_from_phase_one_and_drops_its_questions(road: Path) -> None:
    one, two = load_checkpoint(road / "phase1b"), load_checkpoint(road / "phase2")
    assert two["parent"]["source"] == str(road / "phase1b")
    assert [Path(run["checkpoint"]).name for run in two["lineage"]] == ["phase1b"]
    assert {name.partition(".")[0] for name in one["decoder_state_dict"]} == {
        "masked_eeg",
        "auxiliary",
    }
    assert {name.partition(".")[0] for name in two["decoder_state_dict"]} == {"contrastive"}
    assert {"age", "sex", "externalizing"} <= set(two["told"])


def test_what_phase_one_was_told_is_said_of_a_challenge_that_asks_it(road: Path) -> None:
    for name, is_told in (("c1", False), ("c2", True)):
        said = " ".join(metrics(road, name)["notices"])
        assert (f"{name} was told externalizing of the people" in said) == is_told
        assert "left out in turn, they are not people" not in said


def test_moments_of_a_movie_are_found_in_children_and_at_times_not_trained_on(road: Path) -> None:
    history = json.loads((road / "phase2" / "training_history.json").read_text("utf-8"))
    best = int(np.argmin(history["val_loss"]))
    found = {name: values[best] for name, values in history.items()}
    assert found["val_retrieval_chance"] == pytest.approx(1 / 85, rel=0.05)
    assert found["val_retrieval"] > 4 * found["val_retrieval_chance"]
    assert found["val_retrieval_new_chance"] == pytest.approx(1 / 10)
    assert found["val_retrieval_new"] > 2 * found["val_retrieval_new_chance"]
    assert found["val_contrastive"] < found["val_contrastive_even"]


def test_reaction_times_are_probed_before_and_after_phase_two(road: Path) -> None:
    told = json.loads((road / "phase2" / "manifest.json").read_text("utf-8"))["probe"]
    assert (told["label"], told["metric"]) == ("reaction_time", "nrmse")
    assert told["n_subjects"] == N_PEOPLE - N_HELD_OUT
    assert told["after"]["value"] < 1
    assert told["gain"]["value"] == pytest.approx(told["before"]["value"] - told["after"]["value"])


def test_when_a_button_is_pressed_is_seen_in_children_never_met(road: Path) -> None:
    found = metrics(road, "c1")
    assert found["task"]["primary"] == "nrmse"
    each = {answer["name"]: answer["levels"]["window"]["nrmse"] for answer in found["answers"]}
    assert {"c1", "mean", "age", "age and sex", "previous trial"} <= set(each)
    assert {"pretrained, frozen + linear probe", "random encoder, frozen + linear probe"} <= set(
        each
    )
    assert each["c1"]["value"] < 0.9
    assert each["mean"]["value"] > 0.95
    assert each["c1"]["low"] is not None


def test_a_child_has_one_answer_whatever_the_order_of_its_windows(road: Path) -> None:
    found = metrics(road, "c2")
    assert found["task"]["level"] == "subject"
    first = found["answers"][0]
    assert set(first["levels"]) == {"window", "record", "subject"}
    assert first["levels"]["subject"]["nrmse"]["value"] > 0
    assert found["data"]["n_subjects"] == N_HELD_OUT


def test_a_submission_runs_without_the_package_and_says_the_same(
    road: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "submission"
    asked = ("--challenge-1", road / "c1", "--challenge-2", road / "c2", "--output-dir", folder)
    did("submission", *asked)
    store = open_split(road / "windows", "test")
    windows = store.read(np.arange(40))
    np.save(tmp_path / "windows.npy", windows)
    # In another process, which may import nothing of ours, and from microvolts times three.
    code = (
        "import sys, numpy, torch; sys.modules['biosig_cli'] = None; "
        "from submission import Submission; s = Submission(100, 'cpu'); "
        "x = torch.from_numpy(numpy.load(sys.argv[1])) * 3 + 1; "
        "both = [m(x[:n]) for m in (s.get_model_challenge_1(), s.get_model_challenge_2()) "
        "for n in (40, 1)]; "
        "numpy.savez(sys.argv[2], *[each.detach().numpy() for each in both])"
    )
    arguments = [sys.executable, "-c", code, tmp_path / "windows.npy", tmp_path / "said.npz"]
    subprocess.run(arguments, cwd=folder, check=True)
    said = list(np.load(tmp_path / "said.npz").values())
    assert [each.shape for each in said] == [(40, 1), (1, 1), (40, 1), (1, 1)]
    # Each window by itself: whatever else is scored, and in which order, changes nothing.
    np.testing.assert_allclose(said[0][:1], said[1], atol=1e-5)
    order = np.random.default_rng(0).permutation(40)
    facts = json.loads((folder / "submission.json").read_text("utf-8"))
    assert facts["gpu_memory_limit_gb"] == 20
    for model, answers in zip(open_candidates([road / "c1", road / "c2"]), said[::2], strict=True):
        whole = Submitted(Answering(model.encoder, model.head, model.task)).eval()
        with torch.no_grad():
            np.testing.assert_allclose(whole(torch.from_numpy(windows)), answers, atol=1e-4)
            turned = whole(torch.from_numpy(windows[order]))
            np.testing.assert_allclose(turned, answers[order], atol=1e-4)


def test_a_window_of_a_submission_is_scaled_as_its_store_would(road: Path) -> None:
    store = open_split(road / "windows", "test")
    signal = store.physical(np.arange(4))
    seen = []
    Submitted(lambda scaled: seen.append(scaled) or scaled[:, 0, 0])(torch.from_numpy(signal))
    for window, scaled in zip(signal, seen[0], strict=True):
        center, scale = pooled_scale(list(window), np.ptp(window, axis=1) > 0)
        expected = normalize(window[None], center[None], scale[None])[0]
        np.testing.assert_allclose(scaled, expected, rtol=0.02, atol=0.03)


def test_both_challenges_are_scored_together(road: Path, tmp_path: Path) -> None:
    config = {"challenge_1": road / "c1", "challenge_2": road / "c2", "output_dir": tmp_path / "s"}
    result = write_submission(SubmissionConfig.parse(config), Reporter(silent=True))
    one, two = (
        metrics(road, name)["answers"][0]["levels"][level]["nrmse"]["value"]
        for name, level in (("c1", "window"), ("c2", "subject"))
    )
    assert result.overall == pytest.approx(0.3 * one + 0.7 * two)
    with pytest.raises(CheckpointError, match="answers nothing yet"):
        write_submission(
            SubmissionConfig.parse(config | {"challenge_1": road / "phase2"}), Reporter(silent=True)
        )
