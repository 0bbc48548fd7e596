"""The documentation says what the code does: its lines can be typed, its pages are complete."""

import re
import sys
from pathlib import Path

import pytest

from biosig_cli.cli import COMMANDS, run
from biosig_cli.core.config import shipped_configs
from biosig_cli.services.configs import CONFIGS
from tests.documented import ROOT, lines_of, lines_of_notebook, wrong_in

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.generate.commands import commands_page
from docs.generate.messages import RULES, WARNINGS, kinds, messages, messages_page
from docs.generate.settings import recipes_page, settings_page

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_line_of_a_page_can_be_typed(page: Path) -> None:
    wrong = {line: wrong_in(line) for line in lines_of(page.read_text("utf-8"))}
    assert {line: what for line, what in wrong.items() if what} == {}


def test_lines_are_found_and_wrong_ones_are_told() -> None:
    text = "```\nbiosig pretrain --epochs 3 \\\n    --epocs 3  # no\n```\nand `biosig pretrian`."
    assert lines_of(text) == ["biosig pretrain --epochs 3  --epocs 3", "biosig pretrian"]
    assert [wrong_in(line) for line in lines_of(text)] == ["no flag --epocs", "no command pretrian"]
    assert sum(len(lines_of(page.read_text("utf-8"))) for page in PAGES) > 80


def test_lines_of_recipes_and_notebooks_can_be_typed() -> None:
    of_recipes = [
        f"biosig {' '.join(told[1].split())}"
        for path in shipped_configs().values()
        for told in re.finditer(
            r"^# .*?\bbiosig ([a-z-]+ --[^#\n]*)$", path.read_text("utf-8"), re.M
        )
    ]
    notebooks = sorted((ROOT / "examples").glob("*.ipynb"))
    of_notebooks = [line for path in notebooks for line in lines_of_notebook(path)]
    assert len(of_recipes) > 30
    assert len(of_notebooks) >= 7
    lines = [re.sub(r"[,;:)].*|\\$", "", line) for line in of_recipes] + of_notebooks
    assert {line: wrong_in(line) for line in lines if wrong_in(line)} == {}


def test_reference_has_every_command_and_flag() -> None:
    page = commands_page()
    for command in (each for panel in COMMANDS.values() for each in panel):
        assert f"## biosig {command.__name__.replace('_', '-')}\n" in page
    assert "| `--mask-ratio` | `float` | Share of patches hidden. |" in page
    assert "### biosig configs show" in page
    assert "| `--quiet` |" in page


def test_reference_has_every_setting_and_recipe() -> None:
    page = settings_page()
    for cls in CONFIGS.values():
        for name, field in cls.model_fields.items():
            assert f"| `{name}` |" in page
            assert " ".join((field.description or "").split()).replace("|", "\\|") in page
    assert "| `mask_ratio` | `float` | `0.4` | Share of patches hidden. |" in page
    links = set(re.findall(r"\]\(#([\w-]+)\)", page))
    titles = re.findall(r"^### (.+)$", page, re.M)
    assert len(set(titles)) == len(titles)
    assert links == {each.lower().replace(" ", "-") for each in titles} >= {"ttmconfig"}
    recipes = recipes_page()
    for path in shipped_configs().values():
        assert path.read_text("utf-8").strip() in recipes


def test_every_raise_of_ours_stands_on_the_page_of_messages() -> None:
    found = {(each.where, each.line) for each in messages()}
    named = "|".join([*kinds(), RULES])
    for path in sorted((ROOT / "biosig_cli").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if (
                re.search(rf"^\s*raise (?:errors\.)?(?:{named})\(", line)
                and "{{SFREQ}}" not in line
            ):
                where = path.relative_to(ROOT / "biosig_cli").as_posix()
                assert (where, number) in found, f"{where}:{number}"
    page = messages_page()
    for name, cls in kinds().items():
        raised = any(each.error == name for each in messages())
        assert (f"## Exit code {cls.exit_code}: {name}\n" in page) == raised
    assert any(each.error == WARNINGS for each in messages())


@pytest.mark.parametrize(
    "line",
    [
        "pretrain --set lr",
        "pretrain --device cuda:99",
        "pretrain --config ssl_pretrian",
        "prepare-splits --source nowhere",
        "prepare-splits --case-set biss",
        "build-windows --split-file nowhere.json",
        "configs copy nothing",
        "runs show nowhere",
        "audit nowhere",
    ],
)
def test_what_a_wrong_line_says_is_found_among_the_messages(
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = run(line.split())
    said = capsys.readouterr().err.removeprefix("error: ").split("\n  ")[0].strip()
    fits = [each for each in messages() if fits_message(each.text, said)]
    assert code in {kinds()[each.error].exit_code for each in fits if each.error in kinds()}


def fits_message(text, said):
    """Return whether `said` is what `text` says, with what differs filled in."""
    parts = re.split(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|\[[^\]]*\]", text)
    has_words = sum(len(part.strip()) for part in parts) > 5
    pattern = ".*".join(re.escape(part) for part in parts)
    return has_words and re.fullmatch(pattern, said, re.DOTALL) is not None
