import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.report.evaluation_maps import draw_map
from biosig_cli.report.evaluation_material import DrawnReconstruction, Material
from biosig_cli.report.evaluation_page import write_evaluation_page
from biosig_cli.report.evaluation_results import Evaluation
from biosig_cli.report.evaluation_signals import draw_reconstruction
from biosig_cli.report.evaluation_tables import NONE
from biosig_cli.report.evaluation_words import MINUS, number
from biosig_cli.report.reconstruction_page import (
    write_reconstruction_page,
)
from tests.drawings import material
from tests.evaluations import classification, figure
from tests.more_evaluations import reconstruction, regression, small

HOSTILE = '<img src=x onerror=alert(1)> $x_{1$ & "quoted" _y'


class Page(HTMLParser):
    """What stands in a page: its pictures, headings, tables and whatever it asks for."""

    def __init__(self, path):
        super().__init__()
        self.images, self.asked, self.tags = [], [], []
        self.headings, self.words, self.inside = [], [], None
        self.rows = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.inside = tag
        if tag == "img":
            self.images.append(attributes)
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")
        elif tag in ("span", "b") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += " "
        elif tag == "h2":
            self.headings.append("")
        self.asked += [
            attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes
        ]

    def handle_endtag(self, tag):
        if tag in ("table", "h2", "style"):
            self.inside = None

    def handle_data(self, data):
        if self.inside == "style":
            return
        self.words.append(data)
        if self.inside == "h2":
            self.headings[-1] += data
        elif self.inside in ("th", "td", "span", "sup", "b") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def row(self, name):
        """Return the cells of the first row of figures that begins with `name`."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows if row]
        first = next(place for place, row in enumerate(rows) if row[0] == "answer")
        return next(row for row in rows[first:] if row[0].startswith(name))

    def alts(self, start):
        return [image["alt"] for image in self.images if image["alt"].startswith(start)]


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a page of metrics, of each only once, and return what stands in it."""
    folder = tmp_path_factory.mktemp("pages")

    def written(metrics, drawn=None, name="page"):
        path = folder / f"{name}.html"
        drawn = material(metrics) if drawn is None else drawn
        kind = metrics["task"]["kind"]
        writer = write_reconstruction_page if kind == "reconstruction" else write_evaluation_page
        writer(path, metrics, drawn=drawn)
        return Page(path)

    return written


@pytest.fixture(scope="module")
def two_models():
    return classification(n_models=2)


@pytest.fixture(scope="module")
def page(write, two_models):
    return write(two_models)


def test_the_page_is_one_file_without_scripts_and_not_heavy(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert {address[:5] for address in page.asked if not address.startswith("#")} == {"data:"}
    assert "url(" not in page.source
    assert len(page.source) < 3e6


def test_every_picture_says_its_figures_in_words(page, write):
    others = [write(regression(), name="regression"), write(reconstruction(), name="encoder")]
    for each in (page, *others):
        assert len(each.images) >= 8
        for image in each.images:
            assert re.search(r"\d", image["alt"]), image["alt"]
            assert len(image["alt"]) > 30


def test_all_answers_stand_in_one_table_with_interval_and_difference(page, two_models):
    cross = two_models["cross_validation"]["answers"]
    for answer in cross:
        value = answer["levels"]["window"]["auroc"]
        row = page.row(answer["name"])
        assert row[1].startswith(f"{number(value['value'])} {number(value['low'])} to")
        assert answer["about"] in row[0]
    assert page.row("majority")[1] == "0.50 0.50 to 0.50"
    assert page.row("fine-tuned")[2] == NONE
    assert page.row("majority")[2].endswith("first is better")
    assert page.row("hand-made features")[2].endswith("no difference shown")


def test_few_test_subjects_put_the_people_left_out_first_and_say_why(page):
    assert page.headings[:2] == ["Subjects left out in turn", "The test split"]
    assert "because the test split holds 2 subjects" in page.text
    assert "2 subjects 47 %, 4 subjects 83 %, 8 subjects 88 %, 20 subjects 91 %" in page.text


def test_many_test_subjects_lead_themselves(write):
    many = write(classification(n_subjects=20, lead="split"), Material())
    assert many.headings[:2] == ["The test split", "Subjects left out in turn"]
    assert "Intervals over 8 subjects are too narrow" in many.text
    assert "Intervals over 20" not in many.text


def test_folds_are_named_by_who_was_left_out_and_one_may_be_undefined(page, two_models):
    row = page.row("115")
    assert row[1] == "30"
    assert set(row[2:]) == {"not defined"}
    first = two_models["cross_validation"]["answers"][0]["folds"][0]
    assert page.row("101")[2] == number(first["value"])


def test_a_level_that_says_nothing_new_is_not_repeated(page):
    assert "By record the figures are the same as by window." in page.text
    assert "by record" not in " ".join(page.row("answer"))
    assert "by subject" in " ".join(page.row("answer"))


def test_two_models_are_drawn_into_the_same_curves_and_keep_their_colour(page):
    (roc,) = page.alts("ROC")
    assert "fine-tuned AUROC" in roc
    assert "from scratch AUROC" in roc
    assert "hand-made features AUROC" in roc  # the strongest baseline
    assert "majority" not in roc
    assert len(page.alts("Precision")) == len(page.alts("Reliability")) == 1
    for name, color in (("fine-tuned", "#0072B2"), ("from scratch", "#D55E00")):
        keys = re.findall(rf'background:(#\w+)"[^>]*></span>\s*{name}<', page.source)
        assert set(keys) == {color}


def test_the_confusion_names_its_classes_and_counts_windows(page, two_models):
    (tn, fp), (fn, tp) = two_models["answers"][0]["confusion"]
    start = page.text.index("fine-tuned says")
    shown = page.text[start : start + 120]
    assert "poor good" in shown
    for n_windows in (tn, fp, fn, tp):
        assert f" {n_windows} " in shown
    assert f"{100 * tp / (tp + fn):.1f} %" in shown


def test_a_model_with_one_answer_for_all_is_called_out(write):
    metrics = classification()
    metrics["answers"][0]["confusion"] = [[0, 17], [0, 43]]
    assert "fine-tuned gives every window the same answer, good" in write(metrics, Material()).text


def test_windows_of_one_class_leave_figures_undefined_with_their_reason(write):
    why = "only one class among the windows"
    metrics = classification(cross_validation=None, lead="split", label_efficiency=None)
    for answer in metrics["answers"]:
        for figures in answer["levels"].values():
            figures |= {key: figure(None, why=why) for key in ("auroc", "mcc", "sensitivity")}
        answer |= {"curves": {}, "difference": answer["difference"] and figure(None, why=why)}
        for members in answer["groups"].values():
            for each in members:
                each["figure"] = figure(None, why=why)
    one = write(metrics, Material())
    assert one.row("fine-tuned")[1] == "not defineda"
    assert f"a {why}." in one.text
    assert not one.alts("ROC")
    assert not one.alts("AUROC by sex")
    assert one.alts("AUROC by window")[0].count("not defined") == len(metrics["answers"])


def test_one_subject_has_figures_and_no_intervals(write):
    alone = write(classification(n_subjects=1, cross_validation=None), Material())
    assert "With one subject there are no intervals" in alone.text
    assert "are bootstrapped" not in alone.text
    assert "no interval: only one subject" in alone.text
    assert "not defined" not in alone.text


def test_more_than_two_classes_have_a_confusion_and_no_curves(write):
    metrics = classification(cross_validation=None, lead="split")
    metrics["task"]["classes"] = ["rest", "walk", "run"]
    metrics["data"]["counts"] = {"rest": 20, "walk": 20, "run": 20}
    for answer in metrics["answers"]:
        answer |= {
            "curves": {},
            "threshold": None,
            "confusion": [[18, 2, 0], [1, 17, 2], [0, 5, 15]],
        }
    three = write(metrics, Material(target=np.zeros(60), score=np.full(60, 0.9)))
    assert "rest 18 90.0 % 2 10.0 % 0 0.0 %" in three.text
    assert not three.alts("ROC")
    assert not three.alts("Histograms")


def test_a_regression_shows_its_agreement_and_whose_errors_are_large(write):
    metrics = regression()
    page = write(metrics)
    window = metrics["answers"][0]["levels"]["window"]
    (alt,) = page.alts("Bland-Altman")
    assert f"bias {number(window['bias']['value'])} mmHg" in alt
    assert f"limit low {number(window['loa_low']['value'])} mmHg" in alt
    (errors,) = page.alts("Absolute error by subject, 24 subjects")
    worst = max(metrics["answers"][0]["groups"]["subject"], key=lambda g: g["figure"]["value"])
    assert f"({worst['group']})" in errors
    assert page.alts("Predicted over true SBP of 960 windows")
    assert page.row(worst["group"])[2].startswith(number(worst["figure"]["value"]))
    assert "not met" in page.text
    assert "grade C, 43.0 % within 5" in page.text
    assert "24 subjects; the standard asks for 85" in page.text
    assert "The worst only; 4 more are in test_metrics.json." in page.text


def test_an_encoder_alone_stands_beside_answers_that_need_none(write):
    page = write(reconstruction())
    assert page.row("linear interpolation")[1] == "0.620 0.527 to 0.744"
    assert page.row("predicting zero")[3] == "not defineda"
    assert "a constant has no correlation" in page.text
    (alt,) = page.alts("PPG. model")
    assert "MSE 0.310 (95 % interval" in alt
    assert len(page.alts("True and reconstructed signal")) == 4


def test_what_names_say_is_text_and_never_markup_or_a_formula(write):
    text = json.dumps(classification()).replace("fine-tuned", json.dumps(HOSTILE)[1:-1])
    metrics = json.loads(text.replace('"poor"', '"<b>$p"'))
    metrics["notices"] = [HOSTILE]
    page = write(metrics, name="hostile")
    assert "<img src=x" not in page.source
    assert "<b>$p" not in page.source
    assert HOSTILE in page.text
    assert "script" not in page.tags


def test_a_page_needs_no_material(write):
    page = write(classification(), Material())
    for heading in ("Map of the embeddings", "Most confident mistakes", "Hidden and reconstructed"):
        assert heading not in page.headings
    assert not page.alts("Histograms")
    assert page.alts("ROC")


def test_material_of_other_windows_is_refused():
    with pytest.raises(ValueError, match="'score': 3, 'subject': 2"):
        Material(score=np.zeros(3), subject=np.array(["a", "b"]))


def test_metrics_that_lack_something_or_are_newer_are_refused_by_name(tmp_path):
    metrics = classification()
    del metrics["task"]["primary"]
    metrics["answers"][0]["kind"] = "guess"
    with pytest.raises(DataError, match=r"task\.primary: Field required; answers\.0\.kind"):
        write_evaluation_page(tmp_path / "page.html", metrics, drawn=Material())
    with pytest.raises(DataError, match="format 2"):
        write_evaluation_page(tmp_path / "page.html", metrics | {"format": 2}, drawn=Material())
    assert not list(tmp_path.iterdir())


def test_a_map_says_how_often_neighbours_share_label_and_subject():
    # Two clouds far apart, one per class; within each, both people lie in each other's places.
    rng = np.random.default_rng(0)
    target = np.repeat([0.0, 1.0], 20)
    places = rng.normal(0, 1, (40, 2)) + 100 * target[:, None]
    subject = np.tile(["a", "b"], 20)
    task = Evaluation.read(small(figure(0.9))).task
    drawn = Material(target=target, subject=subject)
    caption = draw_map("PCA", places, drawn, task).caption
    assert "the same quality in 100.0 % (any two windows: 48.7 %)" in caption  # 2 * 190 / 780
    share = float(re.search(r"the same subject in (\S+) %", caption)[1])
    assert 30 < share < 65
    one_spot = draw_map("PCA", np.zeros((40, 2)), drawn, task)
    assert "40 windows" in one_spot.caption


def test_a_map_of_windows_that_nobody_owns_is_by_label_alone():
    drawn = Material(target=np.array([0.0, 1.0, np.nan]), subject=np.array(["", "", ""]))
    task = Evaluation.read(small(figure(0.9))).task
    assert "subject" not in draw_map("PCA", np.eye(3)[:, :2], drawn, task).alt
    assert draw_map("PCA", np.eye(3)[:, :2], drawn, None) is None


def test_a_reconstruction_says_how_much_was_hidden_and_how_well_it_is_followed():
    true = np.sin(np.arange(100) / 5)[None]
    hidden = np.zeros((1, 100), bool)
    hidden[0, 20:45] = True
    guess = np.where(hidden, -true, np.nan)
    window = DrawnReconstruction("record 7", true, [("PPG", "ppg", "")], 10.0, guess, hidden)
    caption = f"Record 7. Hidden: PPG 25.0 % of it, r = {MINUS}1.00."
    assert draw_reconstruction(window).caption == caption
