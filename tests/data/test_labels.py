import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.labels import LabelConfig, LabelSet

STARTS_S = np.array([0.0, 10.0, 20.0])


def labels(folder, attributes=None, **described):
    parsed = {name: LabelConfig.parse(each) for name, each in described.items()}
    about = {name: LabelConfig.parse(each) for name, each in (attributes or {}).items()}
    return LabelSet(folder, parsed, about)


def of(known, record="r1", subject="s1", starts_s=STARTS_S):
    return known.columns(record, subject, starts_s, 10.0)


def test_a_value_of_a_record_belongs_to_all_its_windows_and_missing_stays_missing(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffID, HR \nr1, 72.5\nr2,\nr3,n/a\n", "utf-8")
    known = labels(tmp_path, hr={"table": "t.csv", "record": "ID", "column": "HR"})
    np.testing.assert_array_equal(of(known)["label_hr"], [72.5] * 3)
    for record in ("r2", "r3", "r4"):
        assert np.isnan(of(known, record)["label_hr"]).all()


def test_attributes_belong_to_people_and_words_become_numbers(tmp_path):
    (tmp_path / "people.tsv").write_text("who\tsex\ns1\tF\ns2\tM\n")
    sex = {"table": "people.tsv", "subject": "who", "column": "sex", "values": {"F": 0, "M": 1}}
    known = labels(tmp_path, attributes={"sex": sex})
    assert of(known)["subject_sex"].tolist() == [0, 0, 0]
    assert of(known, subject="s2")["subject_sex"].tolist() == [1, 1, 1]
    (tmp_path / "people.tsv").write_text("who\tsex\ns1\tdivers\n")
    with pytest.raises(DataError, match="sex holds 'divers', expected numbers or one of F, M"):
        of(labels(tmp_path, attributes={"sex": sex}))


def test_a_cell_that_is_no_number_among_numbers_is_missing_and_said(tmp_path):
    (tmp_path / "t.csv").write_text("ID,sex,age\nr1,F,51\nr2,?,>89\nr3,M,inf\n")
    base = {"table": "t.csv", "record": "ID"}
    sex = base | {"column": "sex", "values": {"F": 0, "M": 1}}
    known = labels(tmp_path, attributes={"sex": sex, "age": base | {"column": "age"}})
    assert known.check({"r1": "a", "r2": "b", "r3": "c"}) == [
        "t.csv: 1 cells of sex are no numbers and count as missing, such as '?'",
        "t.csv: 1 cells of age are no numbers and count as missing, such as '>89'",
    ]
    assert np.isnan(of(known, "r2")["subject_sex"]).all()
    assert np.isnan(of(known, "r3")["subject_age"]).all()
    assert of(known, "r3")["subject_sex"][0] == 1


def test_values_in_time_are_averaged_over_a_window(tmp_path):
    rows = [(t, 60 + t if t < 25 else "") for t in range(30)]
    (tmp_path / "r1.csv").write_text("Time [s], HR\n" + "".join(f"{t},{v}\n" for t, v in rows))
    own = {"table": "{record}.csv", "time": "Time [s]", "column": "HR"}
    known = labels(
        tmp_path, mean=own, median=own | {"rule": "median"}, strict=own | {"min_known": 0.6}
    )
    joined = of(known)
    # Seconds 0-9 have 60-69; in the last window half of the values are missing.
    np.testing.assert_allclose(joined["label_mean"], [64.5, 74.5, 82.0])
    np.testing.assert_allclose(joined["label_median"], [64.5, 74.5, 82.0])
    np.testing.assert_allclose(joined["label_strict"], [64.5, 74.5, np.nan])
    # A table that ends within a window lacks the values that it would have had.
    assert np.isnan(of(known, starts_s=np.array([26.0]))["label_mean"]).all()
    assert np.isnan(of(known, "r2")["label_mean"]).all()


def test_a_value_may_hold_until_the_next_and_the_most_frequent_may_count(tmp_path):
    (tmp_path / "t.csv").write_text("rec,at,stage\nr1,0,1\nr1,15,2\nr1,40,3\nr2,0,9\n")
    base = {"table": "t.csv", "record": "rec", "time": "at", "column": "stage"}
    hold = labels(tmp_path, stage=base | {"rule": "hold"})
    joined = of(hold, starts_s=np.array([0.0, 10.0, 15.0, 20.0, 50.0]))["label_stage"]
    np.testing.assert_array_equal(joined, [1, np.nan, 2, 2, 3])
    (tmp_path / "t.csv").write_text(
        "rec,at,stage\n" + "".join(f"r1,{t},{1 if t < 7 else 2}\n" for t in range(20))
    )
    most = labels(tmp_path, stage=base | {"rule": "most"})
    np.testing.assert_array_equal(of(most, starts_s=STARTS_S[:2])["label_stage"], [1, 2])


def test_a_table_of_its_own_may_be_named_by_parts_of_the_record_s_id(tmp_path):
    (tmp_path / "rec_07_n.csv").write_text("Time [s],HR\n0,60\n")
    one = {
        "table": "rec_{1}_n.csv",
        "match": "rec([0-9]+)",
        "time": "Time [s]",
        "column": "HR",
    }
    known = labels(tmp_path, hr=one)
    assert of(known, "rec07", starts_s=np.zeros(1))["label_hr"].tolist() == [60]
    assert known.check({"rec07": "a", "rec08": "b"}) == ["1 records have no table rec_{1}_n.csv"]
    with pytest.raises(DataError, match=r"no record has a table.*looked for rec_99_n\.csv"):
        known.check({"rec99": "a"})


def test_one_cell_may_hold_two_values(tmp_path):
    (tmp_path / "t.csv").write_text("ID,BP\nr1,120/80\n")
    base = {"table": "t.csv", "record": "ID", "column": "BP"}
    known = labels(
        tmp_path, sbp=base | {"pattern": "([0-9]+)/"}, dbp=base | {"pattern": "/([0-9]+)"}
    )
    joined = of(known)
    assert (joined["label_sbp"][0], joined["label_dbp"][0]) == (120, 80)


def test_unknown_ids_are_counted_and_said_not_fatal(tmp_path):
    (tmp_path / "t.csv").write_text("ID,HR\nr1,72\nr8,70\nr9,70\n")
    known = labels(tmp_path, hr={"table": "t.csv", "record": "ID", "column": "HR"})
    said = "t.csv names 2 records that the source does not have, such as r8"
    assert known.check({"r1": "s1"}) == [said]


def test_a_wrong_column_names_those_there_are(tmp_path):
    (tmp_path / "t.csv").write_text("ID,HR\nr1,72\n")
    known = labels(tmp_path, hr={"table": "t.csv", "record": "ID", "column": "Rate"})
    with pytest.raises(DataError, match="needs the columns ID, Rate; it has ID, HR") as caught:
        known.check({"r1": "s1"})
    assert "no 'Rate'" in caught.value.hint
    with pytest.raises(DataError, match=r"no table u\.csv .*there are t\.csv"):
        labels(tmp_path, hr={"table": "u.csv", "record": "ID", "column": "HR"}).check({})


def test_two_values_for_one_record_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("ID,HR\nr1,72\nr1,80\n")
    known = labels(tmp_path, hr={"table": "t.csv", "record": "ID", "column": "HR"})
    with pytest.raises(DataError, match="gives r1 two values of HR: 72 and 80"):
        of(known)
    (tmp_path / "t.csv").write_text("ID,HR\nr1,\nr1,72\nr1,\n")
    assert of(labels(tmp_path, hr=known.labels["hr"].dump()))["label_hr"].tolist() == [72] * 3
    (tmp_path / "t.csv").write_text("ID,HR\nr1,\nr1,\n")
    assert np.isnan(of(labels(tmp_path, hr=known.labels["hr"].dump()))["label_hr"]).all()


def test_a_label_needs_one_key(tmp_path):
    with pytest.raises(ConfigError, match="needs one of `record`"):
        LabelConfig.parse({"table": "t.csv", "column": "HR"})
    with pytest.raises(ConfigError, match="needs one of `record`"):
        LabelConfig.parse({"table": "t.csv", "column": "HR", "record": "a", "subject": "b"})
    with pytest.raises(ConfigError, match="needs a group"):
        LabelConfig.parse({"table": "t.csv", "column": "HR", "record": "a", "pattern": "x"})


def test_real_numerics_follow_the_windows(real_data):
    numerics = {
        "table": "bidmc_{1}_Numerics.csv",
        "match": "bidmc([0-9]+)",
        "time": "Time [s]",
        "column": "HR",
    }
    known = labels(real_data / "bidmc_wfdb", hr=numerics)
    # The means of the first three tens of seconds in the file.
    assert of(known, "bidmc01")["label_hr"] == pytest.approx([93.6, 94.1, 94], abs=0.01)


def test_a_label_may_stand_in_the_name_of_a_record(tmp_path):
    known = labels(tmp_path, task={"match": "_(rest|count)$", "values": {"rest": 0, "count": 1}})
    assert of(known, "s1_count")["label_task"].tolist() == [1, 1, 1]
    assert of(known, "s1_rest")["label_task"].tolist() == [0, 0, 0]
    assert np.isnan(of(known, "s1_sleep")["label_task"]).all()
    assert known.check({"s1_rest": "s1"}) == []
    assert known.fingerprint("s1_rest") == []


def test_a_name_that_holds_no_number_is_an_error(tmp_path):
    known = labels(tmp_path, task={"match": "_([a-z]+)$"})
    with pytest.raises(DataError, match="finds 'rest' in s1_rest, expected a number"):
        known.check({"s1_rest": "s1"})


@pytest.mark.parametrize("wrong", [{}, {"match": "(a)", "column": "x"}, {"table": "t.csv"}])
def test_a_label_is_in_a_table_or_in_the_name(tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"needs a `table`|needs the `column`"):
        labels(tmp_path, x=wrong)


def test_the_tables_of_several_releases_count_as_one(tmp_path):
    for name, age in (("R1", 9), ("R2", 12)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "people.tsv").write_text(f"who\tage\ns{name}\t{age}\n")
    age = {"table": "**/people.tsv", "subject": "who", "column": "age"}
    known = labels(tmp_path, attributes={"age": age})
    assert of(known, subject="sR1")["subject_age"][0] == 9
    assert of(known, subject="sR2")["subject_age"][0] == 12
    before = known.fingerprint("r1")
    (tmp_path / "R2" / "people.tsv").write_text("who\tage\nsR2\t13\n")
    assert labels(tmp_path, attributes={"age": age}).fingerprint("r1") != before
    nowhere = labels(tmp_path, attributes={"age": age | {"table": "**/nobody.tsv"}})
    with pytest.raises(DataError, match=r"no table nobody\.tsv"):
        of(nowhere)
