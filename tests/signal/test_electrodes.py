import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.channels import ChannelConfig, choose, spec_channels

pytest.importorskip("mne")

from biosig_cli.signal import electrodes
from biosig_cli.signal.electrodes import (
    channel_of,
    electrode_positions,
    montage_electrodes,
)

EEG = ChannelConfig(kind="eeg", unit="uV")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("EEG Fp1", "Fp1"),
        ("EEG FP1-REF", "Fp1"),
        ("EEG FZ-LE", "Fz"),
        ("EEG T3-REF", "T7"),
        ("EEG T6-LE", "P8"),
        ("Fcz.", "FCz"),
        ("Cz..", "Cz"),
        ("FPz", "Fpz"),
        ("C3-M2", "C3"),
        ("E12", "E12"),
        ("E129", "Cz"),
    ],
)
def test_electrodes_have_one_name_whatever_a_file_calls_them(raw, name):
    assert channel_of(raw) == (name, "eeg")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("ECG ECG", "ecg"),
        ("EEG EKG1-REF", "ecg"),
        ("Resp chest", "resp"),
        ("AIRFLOW RESP", "other"),
        ("EEG A2-A1", "other"),
        ("EEG A1-REF", "other"),
        ("M2", "other"),
        ("EOG1", "other"),
        ("EEG ROC-REF", "other"),
        ("PHOTIC-REF", "other"),
        ("EEG 20-REF", "other"),
        ("IBI", "other"),
        ("BURSTS", "other"),
        ("SUPPR", "other"),
        ("Status", "other"),
        ("STI 014", "other"),
        ("FP1-F7", "other"),
        ("EEG T1-REF", "other"),
        ("add", "other"),
    ],
)
def test_what_no_montage_knows_never_counts_as_eeg(raw, kind):
    assert channel_of(raw)[1] == kind


def test_a_name_is_told_without_what_surrounds_it():
    for raw, name in {
        " EEG  EKG1-REF.. ": "EKG1",
        "ECG ECG": "ECG",
        "ECG EKG": "ECG EKG",
        "eeg_Photic LE": "Photic",
        "EMG-chin": "EMG-chin",
    }.items():
        assert channel_of(raw)[0] == name


def test_without_mne_there_is_a_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(electrodes, "find_spec", lambda name: None)
    for asked in (lambda: montage_electrodes("biosemi64"), lambda: electrode_positions(["Cz"])):
        with pytest.raises(ConfigError, match="mne, which is not installed") as caught:
            asked()
        assert "biosig[eeg]" in caught.value.hint


def test_opposite_electrodes_of_a_symmetric_montage_are_mirrored():
    """As a head has no left and right, once the centre of its best sphere is taken away."""
    for left, right in (("C3", "C4"), ("O1", "O2"), ("E36", "E104"), ("E70", "E83")):
        places = electrode_positions([left, right])
        mirrored = places[left] * np.array([-1, 1, 1])
        np.testing.assert_allclose(mirrored, places[right], atol=0.06)


def test_the_centre_is_that_of_the_sphere_through_the_electrodes():
    places = np.array(
        list(electrode_positions(["Cz", "Fpz", "Oz", "T7", "T8", "F3", "P4"]).values())
    )
    moved = [1.0, -2.0, 0.5] + 3.0 * places
    np.testing.assert_allclose(electrodes._centre(moved), [1.0, -2.0, 0.5], atol=1e-3)


def test_positions_lie_on_the_unit_sphere_with_the_nose_in_front():
    names = ["Fp1", "Fp2", "C3", "C4", "Cz", "O1", "O2", "T7", "T8"]
    places = electrode_positions(names)
    assert np.linalg.norm(list(places.values()), axis=1) == pytest.approx(1, abs=1e-3)
    assert places["Cz"][2] > 0.95
    assert places["T8"][0] > 0.95
    assert places["T7"][0] < -0.95
    assert places["Fp1"][1] > 0.9
    assert places["O2"][1] < -0.9


def test_both_montages_place_the_same_electrode_at_about_the_same_place():
    # Luu and Ferree (2005): the electrodes of the GSN HydroCel 128 net next to the 10-20 system.
    same = {
        "Fp1": "E22", "Fp2": "E9", "F7": "E33", "F3": "E24", "Fz": "E11", "F4": "E124",
        "F8": "E122", "T7": "E45", "C3": "E36", "C4": "E104", "T8": "E108", "P7": "E58",
        "P3": "E52", "Pz": "E62", "P4": "E92", "P8": "E96", "O1": "E70", "Oz": "E75", "O2": "E83",
    }  # fmt: skip
    mine, net = electrode_positions(list(same)), electrode_positions(list(same.values()))
    for name, number in same.items():
        assert np.degrees(np.arccos(np.dot(mine[name], net[number]))) < 16, name


def test_montages_have_no_references():
    assert len(montage_electrodes("GSN-HydroCel-129")) == 129
    assert len(montage_electrodes("GSN-HydroCel-128")) == 128
    assert not {"A1", "A2", "M1", "M2"} & set(montage_electrodes("easycap-M1"))


def test_an_electrode_of_no_montage_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"Fp9, X1 have no position in the 10-05 system"):
        electrode_positions(["Fp1", "Fp9", "X1"])
    with pytest.raises(ConfigError, match="Fp1 have no position in GSN"):
        electrode_positions(["E1", "Fp1"])
    with pytest.raises(ConfigError, match="no montage 'GSN-129'"):
        montage_electrodes("GSN-129")


def test_one_channel_stands_for_all_its_electrodes_with_their_positions():
    eeg = EEG.model_copy(update={"electrodes": ("O1", "Fp1")})
    chosen = choose({"EEG": eeg}, {"pretrain": ["EEG"]}, "pretrain")
    assert list(chosen) == ["O1", "Fp1"]
    assert chosen["O1"].tracks == ("O1",)
    channels = spec_channels(chosen)
    assert [channel.position for channel in channels] == [
        electrode_positions(["O1"])["O1"],
        electrode_positions(["Fp1"])["Fp1"],
    ]
    assert {channel.unit for channel in channels} == {"uV"}


def test_all_electrodes_need_recordings_that_tell_them():
    eeg = EEG.model_copy(update={"electrodes": "all"})
    with pytest.raises(ConfigError, match="no recording at hand has a channel"):
        choose({"EEG": eeg}, {"pretrain": ["EEG"]}, "pretrain")
    chosen = choose({"EEG": eeg}, {"pretrain": ["EEG"]}, "pretrain", lambda: ("Cz", "Pz"))
    assert list(chosen) == ["Cz", "Pz"]
