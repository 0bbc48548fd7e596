"""An encoder that takes any montage is given recordings that lack electrodes, and says which."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.cli import run
from biosig_cli.core.config import load_config
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint
from biosig_cli.models.eeg import EegConfig
from biosig_cli.models.heads import pool
from biosig_cli.services.build_windows import BuildWindowsConfig

pytest.importorskip("edfio")
from tests.eeg_recordings import tones, write_edf

NAMES = ("Fp1", "Fp2", "C3", "Cz", "C4", "Pz", "O1", "O2")
LACKING = ("Fp2", "O1")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an EEG encoder with random weights, and the recipe of its windows."""
    settings = [f"channels.EEG.electrodes=[{','.join(NAMES)}]"]
    recipe = load_config(BuildWindowsConfig, file="eeg", settings=settings).recipe
    config = EegConfig(width=16, n_layers=1, n_heads=2)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("eeg")
    content = {
        "encoder_state_dict": config.build(recipe.spec).state_dict(),
        "spec": recipe.spec.dump(),
        "model_config": config.dump(),
        "recipe": recipe.dump(),
        "config": {},
        "metrics": {},
        "epoch": 0,
    }
    save_checkpoint(folder / "best_model.pt", content)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording with all electrodes, the same one without two of them, one with one."""
    folder = tmp_path_factory.mktemp("raw")
    signals = dict(zip(NAMES, tones(len(NAMES), 20, 200.0), strict=True))
    some = {name: each for name, each in signals.items() if name not in LACKING}
    write_edf(folder / "p1_all.edf", signals, 200.0)
    write_edf(folder / "p2_some.edf", some, 200.0)
    write_edf(folder / "p3_one.edf", {"Cz": signals["Cz"]}, 200.0)
    return folder


def embed(encoder: Path, recordings: Path, output: Path, *rest: str) -> int:
    words = ["embed", "--checkpoint", encoder, recordings, "--output", output]
    return run([*map(str, words), *rest])


def vectors(table, record: str) -> np.ndarray:
    rows = [row["embedding"] for row in table.to_pylist() if row["record"] == record]
    return np.array(rows, np.float32)


def test_electrodes_that_are_there_are_embedded_and_the_others_are_nan(
    encoder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "e.parquet"
    assert embed(encoder, recordings, output) == 0
    said = capsys.readouterr().out
    assert "p2_some lacks Fp2, O1" in said
    assert "p3_one skipped" in said
    table = pq.read_table(output)
    flags = dict(zip(table["record"].to_pylist(), table["flags"].to_pylist(), strict=True))
    assert flags == {"p1_all": "", "p2_some": "no electrode Fp2, O1"}
    found = vectors(table, "p2_some").reshape(-1, len(NAMES), 2 * 16)
    is_lacking = np.isin(NAMES, LACKING)
    assert np.isnan(found[:, is_lacking]).all()
    assert np.isfinite(found[:, ~is_lacking]).all()
    assert np.isfinite(vectors(table, "p1_all")).all()


def test_numbers_are_those_of_the_encoder_on_the_smaller_montage(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    import biosig_cli
    from biosig_cli.catalog import open_recording
    from biosig_cli.data.flagged import flag_record
    from biosig_cli.data.recipe import WindowRecipe

    model = load_encoder(encoder)
    whole = WindowRecipe.parse(load_checkpoint(encoder)["recipe"])
    channels = {name: each for name, each in whole.channels.items() if name not in LACKING}
    recipe = whole.model_copy(update={"channels": channels})
    source, record = open_recording(recordings / "p2_some.edf")
    data = flag_record(source.read(record, recipe.channels), recipe).data.astype(np.float32)
    with torch.no_grad():
        expected = pool(model(torch.from_numpy(data), spec=recipe.spec).tokens).numpy()
    streamed = biosig_cli.embed(recordings / "p2_some.edf", checkpoint=encoder)
    found = np.stack([each.values for each in streamed])
    np.testing.assert_allclose(found[np.isfinite(found)], expected.ravel(), atol=1e-6)


def test_tokens_keep_the_names_of_their_electrodes(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "t.parquet"
    assert embed(encoder, recordings, output, "--per", "token") == 0
    table = pq.read_table(output).to_pylist()
    rows = [row for row in table if row["record"] == "p2_some"]
    for row in rows:
        assert np.isnan(row["embedding"]).all() == (row["channel"] in LACKING)


def test_fine_tuned_encoder_refuses_a_recording_that_lacks_electrodes(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(encoder) | {"head_state_dict": {}}
    save_checkpoint(tmp_path / "tuned/best_model.pt", content)
    output = tmp_path / "e.parquet"
    assert embed(tmp_path / "tuned", recordings, output) == 0
    assert set(pq.read_table(output)["record"].to_pylist()) == {"p1_all"}
