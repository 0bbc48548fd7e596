"""A checkpoint's recipe makes of raw recordings, bit by bit, the windows that a store holds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from biosig_cli.catalog import open_recording
from biosig_cli.core.config import load_config
from biosig_cli.core.errors import CheckpointError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_store
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.carried_recipe import carried_recipe, recipe_of
from biosig_cli.services.given_windows import GivenConfig, open_given
from tests.recordings import ecg, ppg, write_case, write_vital
from tests.stores import cut, spec_of, waves, write_store

REAL = {
    "vital": (["vital/900002.vital"], "windows"),
    "wfdb": (["bidmc_wfdb/bidmc01.hea", "bidmc_wfdb/bidmc01.dat"], "windows"),
    "edf": (["eegmat/Subject00_2.edf", "eegmat/subject-info.csv"], "eeg"),
}


def build(folder: Path, source: Path, recipe: str, *settings: str):
    """Build a store of all recordings in a folder; return it."""
    ids = [path.stem for path in sorted(source.iterdir()) if path.suffix not in (".dat", ".csv")]
    splits = {"train": ids, "val": [], "test": [], "meta": {"subjects": {i: i for i in ids}}}
    (folder / "splits.json").write_text(json.dumps(splits), "utf-8")
    flags = {"split_file": folder / "splits.json", "split": "train", "outdir": folder / "w"}
    config = load_config(
        BuildWindowsConfig,
        file=recipe,
        settings=settings,
        flags=flags | {"source": str(source), "workers": 1},
    )
    build_windows(config, Reporter(silent=True))
    return open_store(folder / "w" / "train")


def content_of(store) -> dict:
    return {"spec": store.spec.dump(), "recipe": recipe_of([store])}


def given(content: dict, *inputs: Path, **settings):
    config = GivenConfig.parse({"inputs": inputs} | settings)
    return [
        portion
        for each in open_given(config, content, Path("best_model.pt"))
        for portion in each.portions()
    ]


def assert_same(windows, store) -> None:
    stored = store.read(np.arange(len(store))).astype(np.float16)
    assert np.array_equal(windows.data[windows.usable], stored)
    assert np.array_equal(windows.start_s[windows.usable], store.column("start_s"))


@pytest.mark.parametrize("kind", REAL)
def test_raw_recording_gives_the_windows_of_the_store(
    kind: str, real_data: Path, tmp_path: Path
) -> None:
    files, recipe = REAL[kind]
    (tmp_path / "raw").mkdir()
    copies = [Path(shutil.copy(real_data / file, tmp_path / "raw")) for file in files]
    store = build(tmp_path, tmp_path / "raw", recipe)
    assert len(store) > 20
    for path in (tmp_path / "raw", copies[0]):
        (portion,) = given(content_of(store), path)
        assert_same(portion.windows, store)


@pytest.mark.parametrize("normalization", ["record", "minmax", "none"])
def test_every_scale_is_that_of_the_store(normalization: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=1250).astype(np.float32)
    samples = {"SNUADC/PLETH": ppg(125.0, 60.0, delay_s=0.2), "SNUADC/ECG_II": ecg(125.0, 60.0)}
    samples["SNUADC/PLETH"][2500:3750] = 2 * noise  # a poor window, which sways a mean
    (tmp_path / "raw").mkdir()
    write_vital(
        tmp_path / "raw/a.vital", {name: (125.0, [(0.0, each)]) for name, each in samples.items()}
    )
    store = build(tmp_path, tmp_path / "raw", "windows", f"windows.normalization={normalization}")
    (portion,) = given(content_of(store), tmp_path / "raw")
    assert (len(store), len(portion.windows)) == (5, 6)
    assert_same(portion.windows, store)
    (poor,) = portion.windows.flags[~portion.windows.usable].tolist()
    assert "PPG" in poor


def test_windows_that_lack_samples_are_counted_and_not_asked(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    pulse, heart = ppg(125.0, 60.0, delay_s=0.2), ecg(125.0, 60.0)
    pulse[3000:3100] = np.nan
    tracks = {"SNUADC/PLETH": (125.0, [(0.0, pulse)]), "SNUADC/ECG_II": (125.0, [(0.0, heart)])}
    write_vital(tmp_path / "raw/a.vital", tracks)
    store = build(tmp_path, tmp_path / "raw", "windows")
    (portion,) = given(content_of(store), tmp_path / "raw")
    assert (len(portion.windows), portion.windows.n_lacking) == (5, 1)
    assert np.isfinite(portion.windows.data).all()


def test_checkpoint_carries_the_recipe_of_the_channels_it_uses(encoder_run: Path) -> None:
    content = load_checkpoint(encoder_run)
    recipe = carried_recipe(content, encoder_run)
    assert list(recipe.channels) == ["PPG", "ECG"]
    assert recipe.spec.dump() == content["spec"]
    assert recipe.channels["PPG"].filter.high_hz == 10.0


def test_model_of_bare_arrays_refuses_recordings_and_takes_windows(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "s", [cut("r", "p", waves(0), spec_of())]))
    write_case(tmp_path / "raw", "1")
    with pytest.raises(CheckpointError, match="do not say how they were made") as raised:
        given(content_of(store), tmp_path / "raw")
    assert "build-windows" in raised.value.hint
    (portion,) = given(content_of(store), tmp_path / "s")
    assert_same(portion.windows, store)
    with pytest.raises(CheckpointError, match="before checkpoints carried"):
        given({"spec": store.spec.dump()}, tmp_path / "raw")


def test_stores_of_two_recipes_carry_none(tmp_path: Path) -> None:
    write_case(tmp_path / "raw", "1")
    stores = []
    for number in (10.0, 8.0):
        (tmp_path / f"{number}").mkdir()
        setting = f"channels.PPG.filter.high_hz={number}"
        stores.append(build(tmp_path / f"{number}", tmp_path / "raw", "channels", setting))
    assert recipe_of(stores) is None
    assert recipe_of([stores[0], stores[0]]) == recipe_of(stores[:1])


def test_names_of_other_recordings_are_found_and_filters_stay(tmp_path: Path) -> None:
    write_case(tmp_path / "raw", "1")
    store = build(tmp_path, tmp_path / "raw", "windows")
    (tmp_path / "other").mkdir()
    tracks = {"X/P": (125.0, [(0.0, ppg(125.0, 40.0))]), "X/E": (125.0, [(0.0, ecg(125.0, 40.0))])}
    write_vital(tmp_path / "other/a.vital", tracks)
    (unknown,) = given(content_of(store), tmp_path / "other")
    assert unknown.windows is None
    assert "no PPG" in unknown.problem
    other = {"kind": "ppg", "tracks": ["X/P"], "filter": None}
    names = {"PPG": other, "ECG": {"kind": "ecg", "tracks": ["X/E"]}}
    (portion,) = given(content_of(store), tmp_path / "other", channels=names)
    # Without its filter, the noise of the pulse would keep its flat line.
    assert len(portion.windows) == 4
    (again,) = given(content_of(store), tmp_path / "other", channels=names)
    other["filter"] = {"kind": "butterworth", "low_hz": 1.0, "high_hz": 2.0}
    (same,) = given(content_of(store), tmp_path / "other", channels=names)
    assert np.array_equal(again.windows.data, same.windows.data)


def test_windows_of_another_length_or_scale_are_refused(tmp_path: Path) -> None:
    spec = spec_of(duration_s=5.0)
    write_store(tmp_path / "s", [cut("r", "p", waves(0), spec)], spec)
    content = {"spec": spec_of().dump(), "recipe": {"windows": {"normalization": "robust"}}}
    with pytest.raises(DataError, match="625 samples"):
        given(content, tmp_path / "s")
    write_store(tmp_path / "t", [cut("r", "p", waves(0), spec_of())])
    with pytest.raises(DataError, match="normalized by window"):
        given(content, tmp_path / "t")


def test_missing_input_and_unknown_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recording at"):
        given({"spec": spec_of().dump()}, tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("nothing", "utf-8")
    with pytest.raises(DataError, match="no recording of a known kind"):
        open_recording(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("vital/900002.vital", "900002"),
        ("bidmc_wfdb/bidmc01.dat", "bidmc01"),
        ("wrist5/201001/201001_ECG.hea", "201001"),
        ("ppg_long/sub-01/func/sub-01_task-rest_run-01_physio.tsv.gz", None),
        ("eegmat/Subject00_1.edf", "Subject00_1"),
    ],
)
def test_single_file_is_found_in_its_folder(file: str, record: str | None, real_data: Path) -> None:
    path = real_data / file
    if not path.exists():
        path = sorted((real_data / file.split("/")[0]).rglob(f"*{''.join(path.suffixes[-2:])}"))[0]
    source, found = open_recording(path)
    assert found == (record or path.name.removesuffix("_physio.tsv.gz"))
    assert found in source.ids()
