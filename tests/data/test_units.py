import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.units import unit_factor


@pytest.mark.parametrize(
    ("found", "wanted", "factor"),
    [
        ("V", "mV", 1000),
        ("uV", "mV", 1e-3),
        ("µV", "mV", 1e-3),
        ("μV", "mV", 1e-3),
        ("mv", "mV", 1),
        ("m/s^2", "g", 1 / 9.80665),
        ("mg", "g", 1e-3),
        ("mmHg", "mmHg", 1),
        ("", "mV", 1),
        ("NU", "mV", 1),
        ("a.u.", "g", 1),
        ("mV", "a.u.", 1),
    ],
)
def test_voltages_and_accelerations_are_converted_and_no_unit_is_no_contradiction(
    found, wanted, factor
):
    assert unit_factor(found, wanted, what="X") == pytest.approx(factor)


@pytest.mark.parametrize(("found", "wanted"), [("mmHg", "mV"), ("g", "mV"), ("degC", "g")])
def test_units_that_do_not_measure_the_same_are_refused(found, wanted):
    with pytest.raises(DataError, match=f"X is in {found}, the channel's unit is {wanted}"):
        unit_factor(found, wanted, what="X")
