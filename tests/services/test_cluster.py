import json
import re
import signal
import sys
import threading
import time

import pytest

pytest.importorskip("distributed", reason="Dask is not installed")

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data import cluster as clusters
from biosig_cli.data import work
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.clusters import cluster
from tests.recordings import cut_file, write_case

QUIET = Reporter(silent=True)
N_CASES = 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Eight recordings in one split, of which one is cut and one is not there."""
    folder = tmp_path_factory.mktemp("prepared")
    for number in range(N_CASES):
        write_case(folder / "in", str(number), rate_bpm=60 + 5 * number)
    prepare_splits(PrepareSplitsConfig(source=str(folder / "in"), output=folder), QUIET)
    file = folder / "splits_fasttrack.json"
    splits = json.loads(file.read_text("utf-8"))
    everyone = sorted(splits["train"] + splits["val"] + splits["test"])
    file.write_text(json.dumps(splits | {"train": everyone, "val": [], "test": []}), "utf-8")
    cut_file(folder / "in" / "2.vital", 0.5)
    (folder / "in" / "5.vital").unlink()
    return folder


@pytest.fixture(scope="module")
def local(prepared):
    build(prepared, "local", workers=1)
    return store(prepared / "local")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("running")) as started:
        yield started


def build(folder, outdir, reporter=QUIET, **more):
    config = {"split_file": folder / "splits_fasttrack.json", "outdir": folder / outdir}
    return build_windows(BuildWindowsConfig.parse(config | {"split": "train"} | more), reporter)


def on(cluster):
    return {"executor": "dask", "scheduler": cluster.address}


def store(outdir):
    """Return what a build wrote, but for the time it was made and the pictures."""
    folder = outdir / "train"
    files = [*folder.glob("*.parquet"), *folder.glob("shards/*"), folder / "skipped.csv"]
    facts = json.loads((folder / "manifest.json").read_text("utf-8"))
    del facts["made_at"]
    return {file.relative_to(folder): file.read_bytes() for file in files} | {"manifest": facts}


class Said(Reporter):
    def __init__(self, **how):
        super().__init__(**how)
        self.lines = []

        self.when_warned = lambda: None

    def say(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.lines.append(text)
        self.when_warned()


def test_a_worker_killed_midway_changes_no_bit(prepared, local, tmp_path):
    with cluster(tmp_path) as doomed:
        for worker in doomed.workers:
            worker.send_signal(signal.SIGSTOP)  # whoever is given work does not finish it

        def kill_at_work():
            try:
                doomed.kill(doomed.wait_until_at_work())
            finally:
                for worker in doomed.workers:
                    worker.send_signal(signal.SIGCONT)

        killer = threading.Thread(target=kill_at_work)
        killer.start()
        build(prepared, "killed", **on(doomed))
        killer.join()
        ends = [worker.poll() for worker in doomed.workers]
        assert sorted(ends, key=str) == [-signal.SIGKILL, None]
    assert store(prepared / "killed") == local


def test_what_fails_on_a_worker_is_counted_with_its_reason(
    prepared, local, running, monkeypatch, capsys
):
    monkeypatch.chdir(prepared)  # a worker is elsewhere, where these paths mean nothing
    build_windows(
        BuildWindowsConfig.parse(
            {"split_file": "splits_fasttrack.json", "outdir": "counted", "split": "train"}
            | {"source": "in"}
            | on(running)
        ),
        Reporter(),
    )
    made = store(prepared / "counted")
    skipped = made["manifest"]["skipped"]
    assert "truncated" in skipped["2"]
    assert "is not in" in skipped["5"]
    assert skipped == local["manifest"]["skipped"]
    assert "those of the Dask cluster" in capsys.readouterr().out
    made["manifest"]["source"] |= {"path": str(prepared / "in")}
    assert made == local


def test_a_build_on_a_cluster_goes_on_where_it_was_stopped(prepared, local, running, monkeypatch):
    take, seen = work.make_parts, []

    def stopped(tasks, workers):
        for outcome in take(tasks, workers):
            seen.append(outcome)
            yield outcome
            if len(seen) == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("biosig_cli.services.split_store.make_parts", stopped)
        with pytest.raises(KeyboardInterrupt):
            build(prepared, "stopped", **on(running))
    assert not (prepared / "stopped" / "train" / "manifest.json").exists()
    done = list((prepared / "stopped" / "train").glob("parts-*/*.npz"))
    for old in done[1:]:
        old.unlink()  # so that there is work left, however fast the workers were
    said = Said(silent=True)
    build(prepared, "stopped", said, **on(running))
    # What a worker was at as the command stopped may be done, too.
    assert re.fullmatch(r"train: [1-7] of 8 cases were done before", said.lines[0])
    assert store(prepared / "stopped") == local


def test_nobody_at_the_address_is_an_error_within_seconds(prepared, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    began_s = time.monotonic()
    with pytest.raises(
        ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
    ) as caught:
        build(prepared, "nobody", executor="dask", scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - began_s < 10
    assert "dask worker" in caught.value.hint


def test_a_scheduler_without_workers_is_waited_for_until_it_is_lost(prepared, tmp_path, capsys):
    with cluster(tmp_path, n_workers=0) as doomed:
        said = Said(silent=True)
        said.when_warned = lambda: threading.Timer(0.5, doomed.kill, [doomed.scheduler]).start()
        with pytest.raises(DataError, match=r"scheduler at tcp://.* is lost"):
            build(prepared, "lost", said, **on(doomed))
    assert "has no workers yet" in said.lines[-1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"executor": "dask"}, "needs the address of its scheduler"),
        ({"scheduler": "tcp://127.0.0.1:8786"}, "of use with executor dask only"),
        ({"executor": "dask", "scheduler": "here"}, "scheduler"),
        (
            {"executor": "dask", "scheduler": "tcp://h:1", "workers": 2},
            "how many workers there are",
        ),
    ],
)
def test_half_a_cluster_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        BuildWindowsConfig.parse(settings)


def test_without_dask_the_error_says_how_to_install_it(prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="needs the package distributed") as caught:
        build(prepared, "without", executor="dask", scheduler="tcp://127.0.0.1:9")
    assert "pip install 'biosig[cluster]'" in caught.value.hint


class Recordings:
    """A source whose file is as large as it is told."""

    def fingerprint(self, record_id):
        return "1000"


def unit(folder, **more):
    facts = {"record": "1", "subject": "s", "part": folder / "1.npz", "name": "1"}
    return work.Task(**facts | {"fingerprint": "1000"} | more)


def make(task, made_with=None):
    maker = work.Maker(Recordings(), None)
    return clusters.make_part(maker, task, made_with or clusters.versions())


def test_a_worker_on_another_disk_says_so(tmp_path):
    with pytest.raises(DataError, match=r"does not see .*elsewhere") as caught:
        make(unit(tmp_path / "elsewhere"))
    assert "by the same paths" in caught.value.hint
    with pytest.raises(DataError, match="does not see the recording of 1 that is seen here"):
        make(unit(tmp_path, fingerprint="2000"))
    record, why = make(unit(tmp_path))  # the same disk: it goes on to read
    assert (record, "unexpected" in why) == ("1", True)


def test_a_worker_with_other_packages_says_which(tmp_path):
    wanted = clusters.versions() | {"scipy": "0.1"}
    with pytest.raises(DataError, match=r"has scipy .*, not 0\.1"):
        make(unit(tmp_path), wanted)
