from biosig_cli.data.pseudonyms import hide_in, hide_subjects, pseudonym
from biosig_cli.data.splits import Splits


def test_a_pseudonym_is_the_same_everywhere_and_depends_on_the_key():
    assert pseudonym("p1") == pseudonym("p1") != pseudonym("p2")
    # As `printf p1 | sha256sum` begins.
    assert pseudonym("p1") == "f64551fcd6f07823"
    assert len({pseudonym("p1"), pseudonym("p1", "a"), pseudonym("p1", "b")}) == 3


def test_subjects_are_hidden_once_and_people_stay_apart():
    splits = Splits({"train": ["1", "2"], "val": ["3"], "test": []}, {"1": "a", "2": "a", "3": "b"})
    hidden = hide_subjects(splits)
    assert hidden.subjects["1"] == hidden.subjects["2"] != hidden.subjects["3"]
    assert hidden.meta == {"hash_subjects": "sha256"}
    assert hide_subjects(hidden) == hidden
    assert hide_subjects(splits, "key").meta == {"hash_subjects": "hmac-sha256"}


def test_an_id_is_hidden_in_a_message_where_it_is_a_word():
    said = hide_in("p1_PPG.hea of p1, p12 and ap1", "p1")
    assert said.count(pseudonym("p1")) == 2
    assert "p12 and ap1" in said
