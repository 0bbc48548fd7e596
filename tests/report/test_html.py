import base64
import re

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from biosig_cli.report.html import Picture, count, percent, picture, write_page


def drawn(form="svg", alt="a line"):
    figure = Figure()
    figure.subplots().plot([1, 2, 1])
    return picture(figure, alt=alt, form=form)


@pytest.mark.parametrize(("form", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_picture_carries_its_whole_image(form, magic):
    head, data = drawn(form).source.split(",")
    assert head.endswith(";base64")
    assert base64.b64decode(data).startswith(magic)


def test_the_same_figure_gives_the_same_bytes():
    assert drawn() == drawn()


def test_a_picture_without_words_is_refused():
    with pytest.raises(ValueError, match="alt text"):
        drawn(alt=" ")


def test_parts_are_written_as_people_read_them():
    assert [percent(part) for part in (0, 1, 0.984, 0.99999, 0.0001, float("nan"))] == [
        "0.0 %",
        "100.0 %",
        "98.4 %",
        "> 99.9 %",
        "< 0.1 %",
        "-",
    ]
    assert count(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"


def test_a_template_that_misses_a_name_is_an_error_and_leaves_no_page(tmp_path):
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "page.html", "quality.html", split="train")
    assert not list(tmp_path.iterdir())


def test_what_recordings_say_is_text_and_never_markup(tmp_path):
    write_page(tmp_path / "page.html", "quality.html", **page(split="<script>alert(1)</script>"))
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert re.search(r"default-src 'none'", text)


def page(**changed):
    """Return what the smallest page of quality shows."""
    return {
        "split": "train",
        "facts": {},
        "recorded_only": False,
        "n_cut": 1,
        "n_kept": 1,
        "n_passing": 1,
        "n_subjects": 1,
        "n_records": 1,
        "notices": [],
        "rules": [],
        "labels": {},
        "low": {},
        "subjects": [],
        "subjects_picture": Picture("data:,", "nothing"),
        "scores": [],
        "others": [],
        "groups": [],
    } | changed
