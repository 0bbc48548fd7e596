"""An autoencoder is judged by what it draws again, person by person, and by what it knows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.embedding_probes import BREATH, HEART, Stretches, count_rates, probe_rates
from biosig_cli.services.evaluate import EvaluateConfig, evaluate
from biosig_cli.services.evaluate_drawings import by_subject, choose_stretches, rate_errors_bpm
from biosig_cli.services.pretrain import PretrainConfig, pretrain
from biosig_cli.signal.spec import Channel, SignalSpec
from tests.recordings import ppg
from tests.stores import cut, spec_of, write_store

QUIET = Reporter(silent=True)
N_SAMPLES = 7500
SPEC = SignalSpec(channels=(Channel(name="PPG", kind="ppg"),), sampling_hz=125, n_samples=N_SAMPLES)


def write_pulses(
    folder: Path, *, duration_s: float, sampling_hz: float = 125.0, breathing: bool = False
) -> Path:
    """Write train, val and test of four, two and two people: a minute or two of pulse each."""
    names = ("PPG", "RESP") if breathing else ("PPG",)
    spec = spec_of(sampling_hz, duration_s, names=names)
    if breathing:
        channels = (spec.channels[0], Channel(name="RESP", kind="resp"))
        spec = spec.model_copy(update={"channels": channels})
    number = 0
    for split, n_people in {"train": 4, "val": 2, "test": 2}.items():
        records = []
        for person in range(number, number + n_people):
            samples = [ppg(sampling_hz, 120.0, rate_bpm=55.0 + 6 * person)]
            if breathing:
                time_s = np.arange(len(samples[0])) / sampling_hz
                samples.append(np.sin(2 * np.pi * (12 + person) / 60 * time_s))
            record = cut(f"r{person}", f"s{person}", np.stack(samples), spec, step_s=duration_s)
            records.append(record)
        write_store(folder / split, records, spec)
        number += n_people
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small autoencoder, trained on minutes of pulse."""
    folder = tmp_path_factory.mktemp("autoencoder")
    settings = {
        "windows": write_pulses(folder / "windows", duration_s=60.0),
        "output_dir": folder / "run",
        "device": "cpu",
        "precision": "fp32",
        "model": {"kind": "ppg_autoencoder", "width": 8, "hidden": 16},
        "objectives": {"reconstruction": {"crop_samples": 1250, "crops_per_window": 4}},
        "plan": {"epochs": 4, "batch_size": 4, "warmup_epochs": 0, "lr": 4e-3},
    }
    pretrain(PretrainConfig.parse(settings), QUIET)
    return folder / "run"


def judged(run: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    asked = {"checkpoint": [run], "device": "cpu", "n_resamples": 50, "output_dir": folder}
    evaluate(EvaluateConfig.parse(asked | settings), QUIET)
    return json.loads((folder / "test_metrics.json").read_text("utf-8"))


def test_drawings_stand_beside_answers_of_the_same_size_for_all_and_by_person(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EvaluateConfig(checkpoint=(run,), device="cpu", n_resamples=50, output_dir=tmp_path)
    metrics = evaluate(config, Reporter()).metrics
    answers = metrics["channels"]["PPG"]["answers"]
    assert list(answers) == ["model", "zero", "low_pass", "pca"]
    figures = ["mse", "ssim", "spectral_error", "correlation", "stretch_correlation"]
    assert list(answers["model"]) == [*figures, "rate_error_bpm"]
    assert answers["zero"]["mse"]["value"] == pytest.approx(1.0, abs=0.01)
    assert "correlation" not in answers["zero"]
    # Smooth pulses are slow waves nearly alone; eight components of two seconds hold most of them.
    assert answers["low_pass"]["mse"]["value"] < answers["pca"]["mse"]["value"] < 0.5
    assert metrics["task"]["numbers_kept"] == 235, "a number for 32 of 7,500 samples"
    people = metrics["subjects"]
    assert [(each["subject"], each["n_windows"]) for each in people] == [("s6", 2), ("s7", 2)]
    own = [each["channels"]["PPG"]["model"]["mse"] for each in people]
    assert np.mean(own) == pytest.approx(answers["model"]["mse"]["value"])
    said = capsys.readouterr().out
    for part in ("235 numbers for 7,500 samples", "by subject", "s7 PPG", "heart rate (/min)"):
        assert part in said, part
    page = (tmp_path / "report.html").read_text("utf-8")
    for part in ("PCA of patches in as many numbers", "Subject s6, worst stretch", "By subject"):
        assert part in page, part
    assert page.count('alt="Signal, and over it what was drawn again') == 6


def test_windows_of_another_length_are_drawn_too(run: Path, tmp_path: Path) -> None:
    longer = write_pulses(tmp_path / "longer", duration_s=100.0)
    metrics = judged(run, tmp_path / "found", data_dir=longer)
    assert metrics["task"]["samples"] == 12_500
    assert metrics["task"]["numbers_kept"] == 391
    assert metrics["channels"]["PPG"]["answers"]["model"]["mse"]["value"] < 1.5


def test_windows_at_another_rate_are_refused(run: Path, tmp_path: Path) -> None:
    slower = write_pulses(tmp_path / "slower", duration_s=60.0, sampling_hz=100.0)
    with pytest.raises(DataError, match="at 100 Hz, the encoder was trained at 125 Hz"):
        judged(run, tmp_path / "found", data_dir=slower)


def test_breathing_is_probed_where_it_was_recorded(run: Path, tmp_path: Path) -> None:
    recorded = write_pulses(tmp_path / "breathing", duration_s=60.0, breathing=True)
    metrics = judged(run, tmp_path / "found", data_dir=recorded)
    assert list(metrics["channels"]) == ["PPG"], "the encoder does not see the breathing"
    heart, breath = metrics["probes"]
    assert (heart["label"], breath["label"]) == (HEART, BREATH)
    for probe in (heart, breath):
        # Eight people, two minutes each; two of them were never seen.
        assert (probe["n_windows"], probe["n_subjects"]) == (32, 8)
        assert probe["n_new_subjects"] == 2
        names = [each["name"] for each in probe["answers"]]
        assert names == ["embedding", "embedding, untrained", "mean of the others"]
    # Rates are 12 to 19, each as often: the mean is off by 2 on average.
    assert breath["answers"][2]["figures"]["mae"]["value"] == pytest.approx(2.0, abs=0.2)


def test_the_windows_that_are_scored_are_not_counted_twice(run: Path, tmp_path: Path) -> None:
    (heart,) = judged(run, tmp_path, split="val")["probes"]
    # Four people of train and two of val, two minutes each; the encoder was chosen by the two.
    assert (heart["n_windows"], heart["n_subjects"], heart["n_new_subjects"]) == (24, 6, 0)


def test_without_training_windows_components_are_left_out_and_that_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from biosig_cli.services import evaluate_autoencoder

    monkeypatch.setattr(evaluate_autoencoder, "has_split", lambda *_: False)
    metrics = judged(run, tmp_path)
    assert list(metrics["channels"]["PPG"]["answers"]) == ["model", "zero", "low_pass"]
    assert any("components of patches are not learned" in each for each in metrics["notices"])


def test_rates_of_answers_are_compared_by_stretch() -> None:
    target = np.stack([ppg(125.0, 60.0, rate_bpm=60.0)] * 3)
    given = np.stack([target[0], ppg(125.0, 60.0, rate_bpm=66.0), np.zeros(N_SAMPLES, np.float32)])
    same, other, nothing = rate_errors_bpm(given, target, SPEC)
    assert same == 0
    assert other == pytest.approx(6.0, abs=0.5)
    assert np.isnan(nothing), "an answer without beats has no rate to compare"


def test_one_stretch_with_an_artefact_does_not_decide_the_rate() -> None:
    target = ppg(125.0, 120.0, rate_bpm=60.0)
    given = target.copy()
    given[3750:7500] = 0
    spec = SPEC.model_copy(update={"n_samples": 15_000})
    assert rate_errors_bpm(given[None], target[None], spec).tolist() == [0.0]


def test_channels_without_beats_have_no_rate() -> None:
    other = SPEC.model_copy(update={"channels": (Channel(name="ACC_X", kind="acc"),)})
    window = ppg(125.0, 60.0)[None]
    assert np.isnan(rate_errors_bpm(window, window, other)).all()


def test_people_are_averaged_over_their_own_windows() -> None:
    figures = {"model": {"mse": np.array([[1.0], [2.0], [6.0]])}}
    figures["model"]["rate_error_bpm"] = np.array([[np.nan], [3.0], [np.nan]])
    first, second = by_subject(figures, np.array(["a", "a", "b"]), ["PPG"])
    assert first["channels"]["PPG"]["model"] == {"mse": 1.5, "rate_error_bpm": 3.0}
    assert second["channels"]["PPG"]["model"] == {"mse": 6.0, "rate_error_bpm": None}


def test_best_median_and_worst_stretches_are_those_of_different_people() -> None:
    people = np.array(["bad", "fair", "good", "fair too"])
    short = np.array([[0.1, 0.3, 0.2], [0.6, 0.5, 0.4], [0.9, 0.7, 0.8], [0.45, 0.55, 0.52]])
    found = choose_stretches(short, people)
    assert found[:3] == [("best", 2, 0), ("median", 2, 2), ("worst", 2, 1)]
    assert found[-3:] == [("best", 0, 1), ("median", 0, 2), ("worst", 0, 0)]
    assert len(found) == 9
    assert [row for _, row, _ in choose_stretches(short[:1], people[:1])] == [0, 0, 0]


def test_rates_of_half_minutes_are_counted_by_kind_of_channel() -> None:
    breathing = np.sin(2 * np.pi * 0.25 * np.arange(N_SAMPLES) / 125)
    channels = (*SPEC.channels, Channel(name="RESP", kind="resp"))
    both = SPEC.model_copy(update={"channels": channels})
    found = count_rates(np.stack([ppg(125.0, 60.0, rate_bpm=75.0), breathing]), both)
    np.testing.assert_allclose(found[HEART], [75, 75], atol=0.5)
    np.testing.assert_allclose(found[BREATH], [15, 15], atol=0.5)
    assert np.isnan(count_rates(np.zeros((1, N_SAMPLES)), SPEC)[HEART]).all()


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    draw = np.random.default_rng(0)
    subject = np.repeat([f"s{n}" for n in range(10)], 20)
    rate = 70 + 10 * draw.normal(size=200)
    knows = np.stack([rate, draw.normal(size=200)], axis=1)
    stretches = Stretches(
        subject,
        {HEART: rate, BREATH: np.where(subject < "s2", 15.0, np.nan)},
        {"embedding": knows, "embedding, untrained": draw.normal(size=(200, 2))},
        is_new=subject >= "s8",
    )
    (probe,), notices = probe_rates(stretches, seed=0, n_resamples=50)
    trained, untrained, constant = (each["figures"] for each in probe["answers"])
    assert trained["mae"]["value"] < 0.1
    assert trained["new_mae"]["value"] < 0.1
    assert untrained["mae"]["value"] > 7
    assert constant["mae"]["value"] == pytest.approx(np.abs(rate - rate.mean()).mean(), rel=0.02)
    new = np.abs(rate[160:] - rate.mean()).mean()
    assert constant["new_mae"]["value"] == pytest.approx(new, rel=0.02)
    assert probe["n_new_subjects"] == 2
    assert probe["answers"][1]["difference"]["low"] > 0
    assert notices == ["respiration rate is not probed: known of 2 people, 3 are needed"]
