"""Windows for a task come from any form, and nobody stands in two splits."""

import csv
import shutil
from itertools import chain

import numpy as np
import pytest

from biosig_cli.core.config import load_config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.loader import Loader
from biosig_cli.data.parts import write_npz
from biosig_cli.data.pseudonyms import pseudonym
from biosig_cli.data.store import open_split, open_store
from biosig_cli.services import split_store
from biosig_cli.services.audit import check_before_scoring
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from biosig_cli.services.task_windows import (
    describes_recordings,
    open_for_scoring,
    open_task_windows,
)
from tests.recordings import write_but_ppg, write_case
from tests.stores import cut, spec_of, waves, write_clean, write_store

QUIET = Reporter(silent=True)
SPLITS = ("train", "val", "test")


def for_training(data_dir, work_dir, **how):
    settings = {"channels": None, "sampling_hz": None, "seed": 42, "recipe": None}
    return open_task_windows(data_dir, **settings | {"reporter": QUIET} | how, work_dir=work_dir)


def for_scoring(data_dir, split, work_dir, **how):
    settings = {"channels": None, "sampling_hz": None, "known_splits": None, "recipe": None}
    return open_for_scoring(
        data_dir, split, **settings | {"reporter": QUIET} | how, work_dir=work_dir
    )


def people(windows):
    return {split: list(store.subjects) for split, store in windows.stores.items()}


def keys(store):
    """Return what tells windows apart, as a set."""
    return set(zip(store.column("record").tolist(), store.column("start_s").tolist(), strict=True))


def write_whole(folder, n_people=8, **manifest):
    """Write one store of `n_people`, s0 and on, twelve windows each."""
    records = [cut(f"r{n}", f"s{n}", waves(n), spec_of()) for n in range(n_people)]
    return write_store(folder, records, **manifest)


def write_table(path, n_people=6, *, order=None):
    """Write three windows of each of `n_people`, one row each."""
    draw = np.random.default_rng(0)
    rows = [
        {"subject": f"p{n}", "record": f"p{n}a", "start_s": 10 * k, "sampling_hz": 4, "hr": 60 + n}
        | {f"PPG_{place}": f"{value:.4f}" for place, value in enumerate(draw.normal(size=40))}
        for n in range(n_people)
        for k in range(3)
    ]
    rows = rows if order is None else [rows[place] for place in order]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two records of each of four people in BUT PPG's tree, with labels."""
    folder = tmp_path_factory.mktemp("data") / "tree"
    records = [f"11{person}00{take}" for person in range(2, 6) for take in (1, 2)]
    for number, record in enumerate(records):
        write_but_ppg(folder, record, rate_bpm=66 + 3 * number)
    lines = [f"{record},{number % 2},{66 + 3 * number}" for number, record in enumerate(records)]
    (folder / "quality-hr-ann.csv").write_text("\n".join(["ID,Quality,HR", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(tree, tmp_path_factory):
    """A run folder with the windows of the tree, and these as they were opened."""
    folder = tmp_path_factory.mktemp("run")
    return folder, for_training(tree, folder, channels=["PPG"])


# What came split


def test_a_folder_with_splits_is_taken_as_it_is(windows, tmp_path):
    opened = for_training(windows, tmp_path, channels=["ECG"])
    assert list(opened.stores) == list(SPLITS)
    assert opened.splits is None
    for split, store in opened.stores.items():
        assert store.spec.names == ("ECG",)
        assert store.digest == open_split(windows, split).digest
    assert not list(tmp_path.iterdir())


def test_a_folder_without_test_windows_will_do_for_training_and_one_without_val_will_not(tmp_path):
    write_clean(tmp_path)
    shutil.rmtree(tmp_path / "test")
    assert list(for_training(tmp_path, tmp_path).stores) == ["train", "val"]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataError, match="no val windows in"):
        for_training(tmp_path, tmp_path)


def test_npz_files_of_each_split_are_opened_too(tmp_path):
    stores = write_clean(tmp_path / "stores")
    for split in SPLITS:
        (tmp_path / "npz").mkdir(exist_ok=True)
        write_npz(open_split(stores, split), tmp_path / "npz" / f"{split}_windows.npz")
    opened = for_training(tmp_path / "npz", tmp_path)
    assert people(opened) == people(for_training(stores, tmp_path))


def test_scoring_opens_the_split_asked_for_or_all_of_them(tmp_path):
    write_clean(tmp_path)
    assert for_scoring(tmp_path, "test", tmp_path).subjects == ("s6", "s7")
    assert for_scoring(tmp_path, "all", tmp_path).subjects == tuple(f"s{n}" for n in range(8))
    shutil.rmtree(tmp_path / "val")
    assert len(for_scoring(tmp_path, "all", tmp_path)) == 6 * 12
    with pytest.raises(DataError, match="no val windows"):
        for_scoring(tmp_path, "val", tmp_path)
    with pytest.raises(ConfigError, match="no split 'tests'"):
        for_scoring(tmp_path, "tests", tmp_path)


# What is split here


def test_one_store_is_split_by_subject_and_no_window_is_lost(tmp_path):
    whole = write_whole(tmp_path / "train")
    opened = for_training(whole, tmp_path)
    # By largest remainder of 8 x 0.7, 0.15 and 0.15.
    assert [len(each) for each in people(opened).values()] == [6, 1, 1]
    assert sorted(chain(*people(opened).values())) == [f"s{n}" for n in range(8)]
    found = [keys(store) for store in opened.stores.values()]
    assert set.union(*found) == keys(open_store(whole))
    assert sum(map(len, found)) == 8 * 12
    assert "6 / 1 / 1 of 8 people" in opened.origin
    check_before_scoring(whole, opened.stores, QUIET)


def test_splits_say_who_is_where_and_how_it_came_about(tmp_path):
    whole = write_whole(tmp_path / "all", normalization="record")
    opened = for_training(whole, tmp_path, seed=7)
    assert {split: opened.splits[split] for split in SPLITS} == people(opened)
    meta = opened.splits["meta"]
    assert (meta["seed"], meta["source"]) == (7, str(whole))
    assert opened.stores["val"].manifest["normalization"] == "record"


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(tmp_path):
    whole = write_whole(tmp_path / "all")
    first, again = (for_training(whole, tmp_path) for _ in range(2))
    assert first.splits == again.splits
    digests = [{name: s.digest for name, s in each.stores.items()} for each in (first, again)]
    assert digests[0] == digests[1]
    tests = {tuple(for_training(whole, tmp_path, seed=seed).splits["test"]) for seed in range(10)}
    assert len(tests) > 3


@pytest.mark.parametrize("n_people", [1, 2])
def test_one_or_two_people_cannot_be_split(tmp_path, n_people):
    whole = write_whole(tmp_path / "all", n_people)
    said = " and ".join(["s0", "s1"][:n_people])
    with pytest.raises(DataError, match=f"windows of {said} alone: no subject is divided"):
        for_training(whole, tmp_path)


def test_windows_of_nobody_known_cannot_be_split_but_scored(tmp_path):
    file = tmp_path / "bare.npz"
    data = np.random.default_rng(0).normal(size=(9, 1, 8)).astype(np.float32)
    np.savez(file, data=data)
    how = {"channels": ["PPG"], "sampling_hz": 8.0}
    with pytest.raises(DataError, match="does not say whose windows"):
        for_training(file, tmp_path, **how)
    assert len(for_scoring(file, "all", tmp_path, **how)) == 9
    with pytest.raises(DataError, match="it does not say whose they are"):
        for_scoring(file, "test", tmp_path, known_splits={"test": ["s1"]}, **how)


def test_an_npz_file_is_split_like_the_store_that_it_was_made_of(tmp_path):
    whole = write_whole(tmp_path / "all")
    write_npz(open_store(whole), tmp_path / "some.npz")
    opened = for_training(tmp_path / "some.npz", tmp_path)
    assert people(opened) == people(for_training(whole, tmp_path))


def test_a_table_is_split_alike_whatever_the_order_of_its_rows(tmp_path):
    table = write_table(tmp_path / "a.csv")
    order = np.random.default_rng(1).permutation(18)
    shuffled = write_table(tmp_path / "b.csv", order=order)
    one, other = (for_training(path, tmp_path) for path in (table, shuffled))
    assert people(one) == people(other)
    assert [len(store) for store in one.stores.values()] == [12, 3, 3]
    for split in SPLITS:
        windows = []
        for opened in (one, other):
            store = opened.stores[split]
            order = np.lexsort((store.column("start_s"), store.column("record")))
            windows.append((store.read(order), store.column("label_hr")[order]))
        np.testing.assert_array_equal(windows[0][0], windows[1][0])
        np.testing.assert_array_equal(windows[0][1], windows[1][1])


def test_columns_of_a_table_that_are_no_labels_are_named(tmp_path, capsys):
    path = write_table(tmp_path / "w.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",device", *(line + ",watch" for line in lines[1:])]))
    for_training(path, tmp_path, reporter=Reporter())
    assert "w.csv: no label or number: device" in capsys.readouterr().out


# Trees of recordings


def test_a_but_ppg_tree_is_cut_and_split_with_its_shipped_recipe(tree, tmp_path, capsys):
    opened = for_training(tree, tmp_path, channels=["PPG", "ACC_Z"], reporter=Reporter())
    assert "the shipped one for a BUT PPG tree" in capsys.readouterr().out
    assert [len(each) for each in people(opened).values()] == [2, 1, 1]
    assert sorted(chain(*people(opened).values())) == ["112", "113", "114", "115"]
    for store in opened.stores.values():
        assert store.spec.names == ("PPG", "ACC_Z")
        assert store.labels == ("quality", "hr")
        for record, rate in zip(store.column("record"), store.column("label_hr"), strict=True):
            place = 2 * (int(record[:3]) - 112) + int(record[-1]) - 1
            assert rate == 66 + 3 * place
    [folder] = (tmp_path / "windows").iterdir()
    assert folder.name.startswith("tree-")
    check_before_scoring(tree, opened.stores, QUIET)


def test_windows_of_a_tree_are_those_of_prepare_splits_and_build_windows(tree, run, tmp_path):
    flags = {"source": str(tree), "output": str(tmp_path)}
    made = prepare_splits(load_config(PrepareSplitsConfig, file="but_ppg", flags=flags), QUIET)
    flags = {"split_file": str(made.path), "outdir": str(tmp_path / "w"), "workers": 1}
    build_windows(load_config(BuildWindowsConfig, file="but_ppg", flags=flags), QUIET)
    for split, store in run[1].stores.items():
        expected = open_split(tmp_path / "w", split, channels=["PPG"])
        assert store.column("record").tolist() == expected.column("record").tolist()
        rows = np.arange(len(store))
        np.testing.assert_array_equal(store.read(rows), expected.read(rows))
        np.testing.assert_array_equal(store.physical(rows), expected.physical(rows))


def test_the_same_command_again_builds_nothing(tree, run, monkeypatch):
    folder, before = run
    monkeypatch.setattr(split_store, "make_parts", lambda *_, **__: pytest.fail("built again"))
    for how in ({"seed": 1}, {"recipe": "but_ppg"}):
        for_training(tree, folder, channels=["PPG"], **how)
    again = for_training(tree, folder, channels=["PPG"])
    assert again.stores["train"].digest == before.stores["train"].digest
    assert len(list((folder / "windows").iterdir())) == 1


def test_windows_have_the_channels_asked_for_whatever_their_order(tree, tmp_path):
    for_training(tree, tmp_path, channels=["ECG", "PPG"])
    assert for_training(tree, tmp_path, channels=["PPG", "ECG"]).stores["val"].spec.names == (
        "PPG",
        "ECG",
    )
    assert len(list((tmp_path / "windows").iterdir())) == 1
    everything = for_training(tree, tmp_path).stores["val"].spec.names
    for_scoring(tree, "all", tmp_path, channels=everything)
    assert len(list((tmp_path / "windows").iterdir())) == 2, "all of the recipe's are as if asked"


def test_other_recordings_and_other_recipes_do_not_touch_the_windows_of_a_run(tree, run, tmp_path):
    folder, before = run
    other = tmp_path / "tree"
    for person in (201, 202, 203):
        write_but_ppg(other, f"{person}001")
    (other / "quality-hr-ann.csv").write_text("ID,Quality,HR\n201001,1,72\n")
    assert for_scoring(other, "all", folder).subjects == ("201", "202", "203")
    recipe = tmp_path / "short.yaml"
    recipe.write_text("windows: {duration_s: 5.0, n_samples: 625, step_s: 5.0, gate: missing}\n")
    assert len(for_scoring(other, "all", folder, recipe=str(recipe))) == 6
    assert len(list((folder / "windows").iterdir())) == 3
    assert for_training(tree, folder, channels=["PPG"]).splits == before.splits


def test_a_record_that_was_added_is_there_the_next_time(tmp_path):
    source = tmp_path / "source"
    for person in (201, 202, 203):
        write_but_ppg(source, f"{person}001")
    (source / "quality-hr-ann.csv").write_text("ID,Quality,HR\n201001,1,72\n")
    assert len(for_scoring(source, "all", tmp_path)) == 3
    write_but_ppg(source, "204001")
    assert for_scoring(source, "all", tmp_path).subjects == ("201", "202", "203", "204")


def test_recordings_of_another_kind_need_a_recipe(tmp_path):
    for number in range(3):
        write_case(tmp_path / "source", f"{number}", rate_bpm=60 + 5 * number)
    (tmp_path / "source" / "rates.csv").write_text("case,rate\n0,60\n1,65\n2,70\n")
    with pytest.raises(ConfigError, match=r"holds recordings \(\.vital files\), and nothing says"):
        for_training(tmp_path / "source", tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("dataset: {labels: {rate: {table: rates.csv, record: case, column: rate}}}\n")
    opened = for_training(tmp_path / "source", tmp_path, recipe=str(recipe))
    for store in opened.stores.values():
        [rate] = set(store.column("label_rate").tolist())
        assert [rate] == [60 + 5 * int(subject) for subject in store.subjects]


def test_splits_of_hidden_subjects_name_nobody(tree, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("windows: {gate: missing}\nbuild_windows: {hash_subjects: true}\n")
    opened = for_training(tree, tmp_path, recipe=str(recipe))
    hidden = sorted(pseudonym(person) for person in ("112", "113", "114", "115"))
    assert sorted(chain(*(opened.splits[split] for split in SPLITS))) == hidden
    assert opened.stores["train"].manifest["hash_subjects"] == "sha256"


def test_a_channel_that_the_recipe_does_not_make_is_refused_before_the_work(tree, tmp_path):
    with pytest.raises(DataError, match="channel EEG not found; there are ACC_X, ACC_Y, ACC_Z"):
        for_training(tree, tmp_path, channels=["PPG", "EEG"])
    assert not (tmp_path / "windows").exists()


def test_a_config_file_may_say_how_recordings_become_windows(tmp_path):
    assert describes_recordings("but_ppg")
    assert describes_recordings("windows")
    assert not describes_recordings(None)
    assert not describes_recordings("ssl_pretrain")
    own = tmp_path / "own.yaml"
    own.write_text("channels: [PPG, ECG]\nseed: 3\n")
    assert not describes_recordings(str(own))


# Scoring what came whole


def test_data_that_the_model_was_trained_on_is_split_as_it_was_then(tree, run):
    folder, trained = run
    for split, store in trained.stores.items():
        found = for_scoring(tree, split, folder, channels=["PPG"], known_splits=trained.splits)
        assert found.subjects == store.subjects
        assert found.digest == store.digest
    whole = for_scoring(tree, "all", folder, known_splits=trained.splits)
    assert len(whole.subjects) == 4


def test_other_data_can_only_be_scored_whole(tmp_path):
    whole = write_whole(tmp_path / "all", 5)
    known = {"train": ["s0", "s1"], "val": ["s2"], "test": ["s3"]}
    with pytest.raises(DataError, match="the model does not know s4") as refused:
        for_scoring(whole, "test", tmp_path, known_splits=known)
    assert "--split all" in refused.value.hint
    for nothing in (None, {}):
        with pytest.raises(DataError, match=r"does not know s0, s1, s2, \.\.\."):
            for_scoring(whole, "test", tmp_path, known_splits=nothing)
    assert len(for_scoring(whole, "all", tmp_path, known_splits=known).subjects) == 5


def test_a_part_of_the_data_holds_nobody_of_a_split(tmp_path):
    whole = write_whole(tmp_path / "all", 3)
    known = {"train": ["s0", "s1", "s2"], "val": ["s3"], "test": ["s4"]}
    assert for_scoring(whole, "train", tmp_path, known_splits=known).subjects == ("s0", "s1", "s2")
    with pytest.raises(DataError, match="no window of a subject who was in test"):
        for_scoring(whole, "test", tmp_path, known_splits=known)


# What can't be opened


def test_a_folder_that_is_not_there_is_answered_with_how_to_make_it(tmp_path):
    for open_it in (
        lambda: for_training(tmp_path / "gone", tmp_path),
        lambda: for_scoring(tmp_path / "gone", "test", tmp_path),
    ):
        with pytest.raises(DataError, match=r"no (train|test) windows in .*gone") as refused:
            open_it()
        assert "biosig build-windows" in refused.value.hint


def test_a_build_that_was_stopped_is_told_from_recordings(tmp_path):
    (tmp_path / "train" / "parts-1a2b").mkdir(parents=True)
    with pytest.raises(DataError, match="the folder holds an unfinished build"):
        for_training(tmp_path, tmp_path)


def test_a_folder_or_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.docx").write_text("dear diary")
    with pytest.raises(DataError, match=r"holds no windows .*found notes\.docx"):
        for_training(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"notes\.docx is no file of windows: expected \.npz"):
        for_training(tmp_path / "notes.docx", tmp_path)


def test_channels_that_are_not_there_are_answered_with_those_that_are(windows, tmp_path):
    table, whole = write_table(tmp_path / "w.csv"), write_whole(tmp_path / "all", 3)
    for data_dir, there in ((windows, "PPG, ECG"), (whole, "PPG, ECG"), (table, "PPG")):
        with pytest.raises(DataError, match=f"channel ACC_X not found; there are {there}$"):
            for_training(data_dir, tmp_path, channels=["ACC_X"])
        with pytest.raises(DataError, match=f"channel ACC_X not found; there are {there}$"):
            for_scoring(data_dir, "all", tmp_path, channels=["ACC_X"])


def test_windows_with_samples_that_are_no_numbers_are_refused(tmp_path):
    whole = open_store(write_whole(tmp_path / "all", 4))
    write_npz(whole, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as arrays:
        content = dict(arrays)
    content["data"][[7, 30], 1, 99] = np.nan
    np.savez(tmp_path / "w.npz", **content)
    with pytest.raises(DataError, match="window 7 and 1 after it holds samples that are NaN"):
        for_training(tmp_path / "w.npz", tmp_path)
    with pytest.raises(DataError, match="NaN or infinite"):
        for_scoring(tmp_path / "w.npz", "all", tmp_path)
    assert len(for_scoring(tmp_path / "w.npz", "all", tmp_path, channels=["PPG"])) == 48


def test_worker_processes_read_a_split_of_a_tree(run):
    store = run[1].stores["train"]
    how = {"batch_size": 3, "seed": 0, "shuffle": True, "labels": ["quality"]}
    alone, together = (list(Loader(store, **how, n_workers=n).batches(1)) for n in (0, 2))
    for one, other in zip(alone, together, strict=True):
        assert one.signal.equal(other.signal)
        assert one.labels["quality"].equal(other.labels["quality"])


# Real recordings


def test_people_of_wrist5_are_split_and_scored_as_they_were_trained(real_data, tmp_path):
    source = tmp_path / "wrist5"
    source.mkdir()
    for person in range(201, 209):
        for take in (1, 2):
            record = f"{person}{take:03}"
            (source / record).symlink_to(real_data / "wrist5" / record)
    shutil.copy(real_data / "wrist5" / "quality-hr-ann.csv", source)
    trained = for_training(source, tmp_path / "run", channels=["PPG"])
    assert [len(store) for store in trained.stores.values()] == [12, 2, 2]
    # What `prepare-splits` makes of these eight people with this seed.
    assert people(trained)["val"] + people(trained)["test"] == ["206", "201"]
    labels = {}
    with (source / "quality-hr-ann.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            labels[row["ID"]] = float(row["Quality"]), float(row["HR"])
    for store in trained.stores.values():
        found = [store.column(name).tolist() for name in ("label_quality", "label_hr")]
        expected = [labels[record] for record in store.column("record")]
        np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-6)
        # z-scored, as float16.
        windows = store.read(np.arange(len(store)))
        np.testing.assert_allclose(windows.mean(-1), 0, atol=1e-3)
        np.testing.assert_allclose(windows.std(-1), 1, atol=1e-3)
    check_before_scoring(source, trained.stores, QUIET)
    test = for_scoring(
        source, "test", tmp_path / "run", channels=["PPG"], known_splits=trained.splits
    )
    assert test.digest == trained.stores["test"].digest
