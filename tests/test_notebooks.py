"""The notebooks run as they stand, on real recordings that a server here gives as VitalDB does."""

import shutil
from pathlib import Path

import pytest

from tests.servers import vitaldb_server

nbformat = pytest.importorskip("nbformat", reason="pip install '.[test]'")
nbclient = pytest.importorskip("nbclient", reason="pip install '.[test]'")

ROOT = Path(__file__).parents[1]
N_CASES = 5
TINY = {
    "quickstart": """
EPOCHS = 1
LABEL = "made_up"
TASK = "--level record --monitor loss"  # one person validates: of one class
MORE = "--max-windows 32 --device cpu"
""",
    "autoencoder_t4": """
SECONDS = 40
PLAN = "--epochs 2 --batch-size 8"
MORE = (
    "--max-windows 16 --device cpu --set model.width=8 --set model.hidden=32 "
    "--set objectives.reconstruction.crop_samples=1250 "
    "--set objectives.reconstruction.whole_epochs=1"
)
""",
}
"""What a test changes of the cell of settings, by notebook."""
REPORT = {
    "quickstart": "artifacts/task/report.html",
    "autoencoder_t4": "artifacts/autoencoder/report.html",
}


@pytest.fixture
def served(real_data, tmp_path, monkeypatch):
    """Real recordings of five people, with a label that was made up."""
    folder = tmp_path / "served"
    folder.mkdir()
    head, *rows = (real_data / "vital/cases.csv").read_text("utf-8").splitlines()
    of_people = {row.split(",")[1]: row for row in rows}
    rows = list(of_people.values())[:N_CASES]
    lines = [f"{head},made_up", *(f"{row},{place % 2}" for place, row in enumerate(rows))]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", "utf-8")
    for row in rows:
        shutil.copy(real_data / f"vital/{row.split(',')[0]}.vital", folder)
    with vitaldb_server(folder) as server:
        monkeypatch.setenv("BIOSIG_VITALDB_URL", server.url)
        monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        monkeypatch.chdir(tmp_path)
        yield server


def opened(name, drive):
    """Return a notebook with settings for a test and a Drive that is mounted already."""
    notebook = nbformat.read(ROOT / f"examples/{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "DRIVE = " in code[0].source
    code[0].source += f"\nDRIVE = {str(drive)!r}\n{TINY[name]}"
    notebook.cells = code
    return notebook


def execute(notebook):
    """Run every cell, and return what each said."""
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return ["\n".join(map(text_of, cell.outputs)) for cell in notebook.cells]


def text_of(output):
    return output.get("text") or output.get("data", {}).get("text/plain", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", TINY)
def test_notebook_goes_from_install_to_report_and_on_after_a_disconnect(
    name: str, served: object, tmp_path: Path
) -> None:
    drive = tmp_path / "MyDrive"
    drive.mkdir()
    said = execute(opened(name, drive))
    assert "Drive is mounted, results stay" in said[1]
    assert (drive / "biosig" / REPORT[name]).is_file()
    assert any("history.png" in text for text in said)

    # The machine is gone, Drive is not: the cells until training find everything done.
    asked = dict(served.n_asked)
    again = opened(name, drive)
    end = next(n for n, cell in enumerate(again.cells) if "--resume" in cell.source) + 1
    again.cells = [cell for cell in again.cells[:end] if "smoke" not in cell.source]
    said = execute(again)
    assert "complete, nothing to do" in "".join(said)
    assert "resumed after epoch" in said[-1]
    assert served.n_asked == asked
