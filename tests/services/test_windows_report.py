import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import ecg, ppg, write_case, write_vital

QUIET = Reporter(silent=True)


class Page(HTMLParser):
    """What stands in a page: its pictures, its text, and whatever it asks for."""

    def __init__(self, text):
        super().__init__()
        self.images, self.asked, self.words, self.tags = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attributes = dict(attrs)
        if tag == "img":
            self.images.append(attributes)
        self.asked += [
            attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes
        ]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(path):
    return Page(path.read_text("utf-8"))


def numbers(path):
    """Return the cells of each row of the page's tables, by the first."""
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", path.read_text("utf-8"), re.DOTALL)
    return {name: re.findall(r"<td[^>]*>([^<]*)<", rest) for name, rest in rows}


def build(folder, outdir, **windows):
    splits = prepare_splits(
        PrepareSplitsConfig(source=str(folder / "in"), output=folder, mode="full"), QUIET
    )
    everyone = json.loads(splits.path.read_text())
    everyone |= {"train": sorted(everyone["train"] + everyone["val"] + everyone["test"])}
    splits.path.write_text(json.dumps(everyone | {"val": [], "test": []}))
    config = {"split_file": splits.path, "outdir": folder / outdir, "workers": 1}
    build_windows(BuildWindowsConfig.parse(config | {"windows": windows}), QUIET)
    return folder / outdir / "train"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three clean recordings, one whose PPG stands still half of the time, one with a gap."""
    folder = tmp_path_factory.mktemp("quality")
    for case in ("1", "2", "3"):
        write_case(folder / "in", case, rate_bpm=60 + 7 * int(case))
    still = ppg(125.0, 40.0, delay_s=0.2)
    still[2500:] = still[2500]
    heart = ecg(250.0, 40.0)
    tracks = {"SNUADC/PLETH": (125.0, [(0.0, still)]), "SNUADC/ECG_II": (250.0, [(0.0, heart)])}
    write_vital(folder / "in" / "4.vital", tracks)
    pulse = ppg(125.0, 40.0, delay_s=0.2)
    tracks["SNUADC/PLETH"] = (125.0, [(0.0, pulse[:2600]), (21.0, pulse[2625:])])
    write_vital(folder / "in" / "5.vital", tracks)
    return folder


@pytest.fixture(scope="module")
def built(recordings):
    return build(recordings, "out")


@pytest.fixture(scope="module")
def recorded(recordings):
    return build(recordings, "recorded", gate="missing")


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_every_window_that_was_cut_leaves_its_verdict(built):
    kept, dropped = (pq.read_table(built / f"{name}.parquet") for name in ("index", "dropped"))
    facts = manifest(built)
    assert kept.num_rows == facts["kept"]
    assert dropped.num_rows == sum(facts["dropped"].values()) > 0
    assert kept.num_rows + dropped.num_rows == facts["cut"] == 20
    reasons = dict(zip(*np.unique(dropped["reason"].to_pylist(), return_counts=True), strict=True))
    assert reasons == facts["dropped"]
    rules = [name for name in kept.column_names if name.startswith("broken_")]
    assert "broken_flat_PPG" in rules
    assert not any(any(kept[name].to_pylist()) for name in rules)
    broken = np.array([dropped[name].to_pylist() for name in rules])
    assert broken.any(axis=0).all()
    assert set(dropped["record"].to_pylist()) == {"4", "5"}
    starts_s = [
        start_s
        for table in (kept, dropped)
        for record, start_s in zip(
            table["record"].to_pylist(), table["start_s"].to_pylist(), strict=True
        )
        if record == "4"
    ]
    assert sorted(starts_s) == [0.0, 10.0, 20.0, 30.0]


def test_a_gate_for_missing_samples_keeps_the_rest_with_its_verdicts(built, recorded):
    assert manifest(recorded)["dropped"] == {"missing": manifest(built)["dropped"]["missing"]}
    table = pq.read_table(recorded / "index.parquet")
    flat = [
        record
        for record, broken in zip(
            table["record"].to_pylist(), table["broken_flat_PPG"].to_pylist(), strict=True
        )
        if broken
    ]
    assert flat == ["4", "4"]


def test_the_page_is_one_file_that_asks_for_nothing(built):
    page = read(built / "quality.html")
    text = (built / "quality.html").read_text("utf-8")
    assert not re.search(r"https?://", text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(each.startswith(("data:image/", "#")) for each in page.asked)
    assert len(page.images) > 15
    assert all(len(image["alt"]) > 20 for image in page.images)
    assert "url(" not in text


def test_the_page_has_the_counts_of_the_manifest(built):
    facts, page = manifest(built), read(built / "quality.html")
    assert f"{facts['kept']} of {facts['cut']} windows were kept" in page.text
    table = numbers(built / "quality.html")
    rules = {name: cells for name, cells in table.items() if len(cells) == 6}
    n_dropped = {name: int(cells[-2]) for name, cells in rules.items()}
    assert {name: number for name, number in n_dropped.items() if number} == facts["dropped"]
    n_cut, n_kept = table["4"][:2]  # the subject
    assert (n_cut, n_kept) == ("4", "2")


def test_dropped_windows_are_drawn_although_the_store_has_none(built):
    page = read(built / "quality.html")
    for heading in ("The best", "The worst that were kept", "Dropped, by rule"):
        assert heading in page.text
    drawn = [image["alt"] for image in page.images if image["alt"].startswith("Dropped")]
    assert any("Flat PPG" in alt and "Record 4" in alt for alt in drawn)
    assert any("Missing" in alt and "Record 5" in alt for alt in drawn)


def test_a_page_of_a_gate_that_only_records_says_so(recorded):
    page = read(recorded / "quality.html")
    assert "records the other rules" in page.text
    assert "Kept, but outside the limits, by rule" in page.text
    assert "Dropped" not in page.text


def test_a_class_that_the_gate_drops_is_named(recordings, tmp_path):
    shutil.copytree(recordings / "in", tmp_path / "in")
    # A class needs twenty windows to be compared.
    for number in range(10, 18):
        shutil.copy(tmp_path / "in" / "4.vital", tmp_path / "in" / f"{number}.vital")
        shutil.copy(tmp_path / "in" / "1.vital", tmp_path / "in" / f"{number + 10}.vital")
    bad = {"4", *map(str, range(10, 18))}
    lines = [f"{path.stem},{int(path.stem in bad)}" for path in (tmp_path / "in").glob("*.vital")]
    (tmp_path / "in" / "ill.csv").write_text("\n".join(["caseid,ill", *lines]) + "\n")
    (tmp_path / "in" / "dataset.yaml").write_text(
        "labels: {ill: {table: ill.csv, record: caseid, column: ill}}\n"
    )
    folder = build(tmp_path, "out")
    page = read(folder / "quality.html")
    assert "Does the gate drop one class?" in page.text
    assert "The gate is not even: it leaves 50.0 % of the windows where ill is 1" in page.text


def test_without_one_window_left_the_page_says_why(recordings, tmp_path):
    shutil.copytree(recordings / "in", tmp_path / "in")
    with pytest.raises(DataError, match="not one window is left") as caught:
        build(tmp_path, "out", min_cycles=99)
    assert "quality.html" in caught.value.hint
    page = read(tmp_path / "out" / "train" / "quality.html")
    assert "0 of 20 windows were kept" in page.text
    assert "break the rule few beats PPG" in page.text


def test_a_recording_that_is_gone_costs_its_pictures_only(recordings, tmp_path, monkeypatch):
    from biosig_cli.services import windows_report

    def gone(*_):
        raise DataError("it is gone")

    monkeypatch.setattr(windows_report, "cut_and_judge", gone)
    folder = build(recordings, tmp_path / "out")
    page = read(folder / "quality.html")
    assert "How they look" not in page.text
    assert "Scores and thresholds" in page.text


def test_the_page_opens_in_a_browser_without_a_word_of_complaint(built, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium: apt-get install chromium")
    shot = tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--screenshot={shot}", "--window-size=1100,2400"]
    # Without a network at all: every name leads nowhere.
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", (built / "quality.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.stat().st_size > 50_000, done.stderr
    assert "CONSOLE" not in done.stderr
    assert "ERR_" not in done.stderr
