"""Curves and columns made of characters."""

from biosig_cli.report.terminal import HEIGHT, WIDTH, align, draw_curves


def drawn(curves):
    head, *rows = draw_curves("loss", curves).plain.splitlines()
    return head, [row.partition("┤")[2] or row.partition("│")[2] for row in rows[:HEIGHT]], rows


def test_falling_curve_goes_from_top_left_to_bottom_right() -> None:
    head, cells, rows = drawn({"train": [3.0, 2.0, 1.0]})
    assert head == "loss  • train"
    assert cells[0][0] == cells[-1][WIDTH - 1] == "•"
    assert all(sum(row[column] == "•" for row in cells) == 1 for column in range(WIDTH))
    assert rows[0].startswith("3 ┤")
    assert rows[HEIGHT - 1].startswith("1 ┤")
    assert rows[-1].split() == ["epoch", "1", "3"]


def test_two_curves_share_one_scale_and_have_their_own_marks() -> None:
    head, cells, _ = drawn({"train": [0.0, 0.0], "val": [1.0, 1.0]})
    assert head.endswith("• train  ○ val")
    assert set(cells[0]) == {"○"}
    assert set(cells[-1]) == {"•"}


def test_one_epoch_is_one_point() -> None:
    _, cells, _ = drawn({"val": [0.5]})
    assert "".join(cells).count("○") == 1


def test_what_is_no_number_is_left_out() -> None:
    _, cells, _ = drawn({"val": [None, 1.0, 2.0]})
    assert not any(row[0] == "○" for row in cells)
    assert cells[0][WIDTH - 1] == "○"
    assert "no epoch has a number" in draw_curves("loss", {"val": [None]}).plain
    assert "no epoch has a number" in draw_curves("loss", {}).plain


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    text = align(("run", "best"), [("a_long_name", "1"), ("b", "0.25")]).plain
    assert text.splitlines() == ["run          best", "a_long_name  1", "b            0.25"]
