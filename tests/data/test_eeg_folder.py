import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.signal.electrodes import electrode_positions
from tests.eeg_recordings import tones, write_brainvision, write_edf

HZ = 200.0
NAMED = DatasetConfig(subject="(s[0-9]+)_")


def electrodes(*names):
    return {
        name: ChannelConfig(kind="eeg", unit="uV", tracks=(name,), position=place)
        for name, place in electrode_positions(names).items()
    }


def signals(*names, duration_s=4.0, sampling_hz=HZ):
    return dict(zip(names, tones(len(names), duration_s, sampling_hz), strict=True))


def read(folder, *names, record="s1_a", dataset=NAMED):
    return open_source(str(folder), dataset).read(record, electrodes(*names))


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_edf_and_bdf_are_read_in_microvolts_by_plain_names(tmp_path, ending):
    wave = signals("EEG O2-REF", "EEG FP1-REF")
    write_edf(tmp_path / f"s1_a.{ending}", wave, HZ)
    record = read(tmp_path, "Fp1", "O2")
    assert record.subject == "s1"
    assert record.tracks["O2"].unit == "uV"
    assert record.tracks["O2"].sampling_hz == HZ
    step = 2 * np.abs(wave["EEG O2-REF"]).max() / 2**16  # of the format
    assert record.tracks["O2"].samples == pytest.approx(wave["EEG O2-REF"], abs=step)
    assert record.tracks["Fp1"].samples == pytest.approx(wave["EEG FP1-REF"], abs=step)


@pytest.mark.parametrize(("unit", "per_uv"), [("mV", 1e-3), ("V", 1e-6), ("nV", 1e3), ("", 1.0)])
def test_whatever_unit_a_file_states_becomes_microvolts(tmp_path, unit, per_uv):
    wave = signals("Cz")["Cz"]
    write_edf(tmp_path / "s1_a.edf", {"Cz": wave * per_uv}, HZ, units={"Cz": unit})
    # A physical range is written with eight digits: of a volt, few are left.
    step = 0.5 if unit == "V" else 0.01
    assert read(tmp_path, "Cz").tracks["Cz"].samples == pytest.approx(wave, abs=step)


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_events_that_an_older_program_wrote_are_read(tmp_path, ending):
    wave = signals("Cz")
    path = write_edf(tmp_path / f"s1_a.{ending}", wave, HZ, events=[(1.5, "Augen geoeffnet")])
    written = path.read_bytes()
    assert b"ge\xf6ffnet" not in written
    path.write_bytes(written.replace(b"geoeffnet", b"ge\xf6ffnet "))
    record = read(tmp_path, "Cz")
    assert [(each.onset_s, each.name) for each in record.events] == [(1.5, "Augen ge\xf6ffnet ")]
    assert len(record.tracks["Cz"].samples) == len(wave["Cz"])


def test_ecg_references_and_status_never_count_as_eeg(tmp_path):
    write_edf(tmp_path / "s1_a.edf", signals("EEG Cz", "EEG A2-A1", "ECG ECG", "EOG1"), HZ)
    source = open_source(str(tmp_path), NAMED)
    assert source.electrodes() == ("Cz",)
    eeg = ChannelConfig(kind="eeg", unit="uV", tracks=("A2", "ECG", "EOG1"))
    with pytest.raises(DataError, match=r"has no X .*; found Cz"):
        source.read("s1_a", {"X": eeg})
    heart = ChannelConfig(kind="ecg", unit="mV", tracks=("ECG",))
    assert source.read("s1_a", {"ECG": heart}).tracks["ECG"].unit == "mV"


def test_a_slow_or_fast_channel_beside_them_does_not_change_the_rate(tmp_path):
    wave = signals("Cz") | {"SpO2": np.full(4, 97.0), "ECG": tones(1, 4.0, 800.0)[0]}
    write_edf(tmp_path / "s1_a.edf", wave, {"Cz": HZ, "SpO2": 1.0, "ECG": 800.0})
    track = read(tmp_path, "Cz").tracks["Cz"]
    assert track.sampling_hz == HZ
    assert track.samples == pytest.approx(wave["Cz"], abs=0.01)


def test_brainvision_is_read_with_its_markers(tmp_path):
    wave = signals("Cz", "O1")
    write_brainvision(tmp_path / "s1_a.vhdr", wave, HZ, markers=[(1.0, "S  1"), (2.5, "S 20")])
    record = read(tmp_path, "O1")
    assert record.tracks["O1"].samples == pytest.approx(wave["O1"], abs=1e-4)
    assert [(e.onset_s, e.name) for e in record.events] == [
        (1.0, "Stimulus/S  1"),
        (2.5, "Stimulus/S 20"),
    ]


def test_fif_is_read_and_its_events_count_from_the_first_sample(tmp_path):
    mne = pytest.importorskip("mne")
    wave = signals("Cz", "O1")
    info = mne.create_info(["Cz", "O1"], HZ, "eeg")
    raw = mne.io.RawArray(np.stack(list(wave.values())) * 1e-6, info, first_samp=400, verbose=False)
    raw.set_meas_date(1_600_000_000)
    raw.set_annotations(mne.Annotations([3.0], [0.0], ["go"], orig_time=raw.info["meas_date"]))
    raw.save(tmp_path / "s1_a_eeg.fif", verbose=False)
    record = read(tmp_path, "O1", record="s1_a_eeg")
    assert record.tracks["O1"].samples == pytest.approx(wave["O1"], abs=1e-3)
    assert [(e.onset_s, e.name) for e in record.events] == [(1.0, "go")]


def test_nothing_is_filtered_across_a_place_where_samples_were_cut_out(tmp_path):
    write_edf(tmp_path / "s1_a.edf", signals("Cz"), HZ, events=[(1.0, "boundary"), (2.0, "go")])
    samples = read(tmp_path, "Cz").tracks["Cz"].samples
    assert np.flatnonzero(np.isnan(samples)).tolist() == [200]


def test_a_cut_edf_is_an_error_and_not_a_shorter_recording(tmp_path):
    path = write_edf(tmp_path / "s1_a.edf", signals("Cz"), HZ)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DataError, match=r"s1_a\.edf is cut"):
        read(tmp_path, "Cz")


def test_a_recording_with_interruptions_is_not_read_as_one_without(tmp_path):
    path = write_edf(tmp_path / "s1_a.edf", signals("Cz"), HZ, events=[(1.0, "go")])
    whole = path.read_bytes()
    assert whole[192:197] == b"EDF+C"
    path.write_bytes(whole[:192] + b"EDF+D" + whole[197:])
    with pytest.raises(DataError, match="recorded with interruptions"):
        read(tmp_path, "Cz")


def test_bytes_that_are_no_edf_are_an_error_that_names_the_file(tmp_path):
    (tmp_path / "s1_a.edf").write_bytes(b"0       " + bytes(range(256)) * 8)
    with pytest.raises(DataError, match=r"s1_a\.edf can't be read"):
        read(tmp_path, "Cz")


def test_a_montage_of_unknown_names_says_what_was_found(tmp_path):
    write_edf(tmp_path / "s1_a.edf", signals("Ch1", "Ch2"), HZ)
    with pytest.raises(DataError, match=r"s1_a\.edf has no Cz .*found nothing"):
        read(tmp_path, "Cz")


def test_a_name_twice_is_refused_as_nothing_says_which_is_meant(tmp_path):
    write_edf(tmp_path / "s1_a.edf", signals("C3-M2", "C3-A1"), HZ)
    with pytest.raises(DataError, match="2 tracks called C3"):
        read(tmp_path, "C3")


def test_the_subject_is_in_the_name_never_in_the_header(tmp_path):
    who = {"patient": pytest.importorskip("edfio").Patient(name="X", sex="F")}
    for name, part in (("s1_a", who), ("s1_b", {}), ("s2_a", who)):
        write_edf(tmp_path / f"{name}.edf", signals("Cz"), HZ, **part)
    assert open_source(str(tmp_path), NAMED).subjects() == {
        "s1_a": "s1",
        "s1_b": "s1",
        "s2_a": "s2",
    }


def test_a_file_without_a_subject_is_named(tmp_path):
    write_edf(tmp_path / "calibration.edf", signals("Cz"), HZ)
    with pytest.raises(DataError, match="does not fit 'calibration'"):
        open_source(str(tmp_path), NAMED).subjects()


def test_real_files_of_three_devices_are_read(real_data):
    eegmat = open_source(str(real_data / "eegmat"), DatasetConfig(subject="(Subject[0-9]+)_"))
    assert len(eegmat.electrodes()) == 19
    record = eegmat.read("Subject00_1", electrodes(*eegmat.electrodes()))
    spreads = [float(np.std(track.samples)) for track in record.tracks.values()]
    assert {track.sampling_hz for track in record.tracks.values()} == {500.0}
    assert 5 < min(spreads) < max(spreads) < 30
    motor = open_source(str(real_data / "eegmmidb"))
    assert len(motor.electrodes()) == 64
    assert len(motor.read("S001R01", electrodes("Cz", "Iz")).tracks["Iz"].samples) == 61 * 160
    with pytest.raises(DataError, match=r"S001R01_corrupt\.edf can't be read"):
        motor.read("S001R01_corrupt", electrodes("Cz"))


def test_a_real_eeglab_file_has_its_events_and_no_eyes(real_data, tmp_path):
    source = open_source(str(real_data / "eeglab"))
    record = source.read("eeglab_data", electrodes("Fpz", "Oz"))
    names = [event.name for event in record.events]
    assert (names.count("square"), names.count("rt")) == (80, 74)
    assert 5 < np.std(record.tracks["Oz"].samples) < 60
    (tmp_path / "a.set").write_bytes((real_data / "eeglab" / "eeglab_data.set").read_bytes())
    with pytest.raises(DataError, match=r"a\.set lacks the file that its samples are in"):
        open_source(str(tmp_path)).read("a", electrodes("Oz"))


def test_a_set_of_a_newer_matlab_is_refused_with_what_to_do(tmp_path):
    head = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + bytes([0, 2]) + b"IM"
    (tmp_path / "s1_a.set").write_bytes(head + bytes(2000))
    with pytest.raises(DataError, match=r"of MATLAB 7\.3") as caught:
        read(tmp_path, "Cz")
    assert "pymatreader" in caught.value.hint


def test_a_machine_without_memory_is_not_a_damaged_file(tmp_path, monkeypatch):
    import mne

    def short_of_memory(*_, **__):
        raise MemoryError

    write_edf(tmp_path / "s1_a.edf", signals("Cz"), HZ)
    with monkeypatch.context() as patch:
        patch.setattr(mne.io.BaseRaw, "get_data", short_of_memory)
        with pytest.raises(MemoryError):
            read(tmp_path, "Cz")
    # Before a sample is read, it is the header that asks for too much.
    monkeypatch.setattr(mne.io, "read_raw_edf", short_of_memory)
    with pytest.raises(DataError, match=r"header of s1_a\.edf claims more than the memory holds"):
        read(tmp_path, "Cz")


def test_a_recipe_for_other_recordings_is_told_that_this_is_eeg(tmp_path):
    write_edf(tmp_path / "s1_a.edf", signals("EEG Cz", "ECG ECG"), HZ)
    source = open_source(str(tmp_path), NAMED)
    pulse = ChannelConfig(kind="ppg", unit="a.u.", tracks=("PLETH",))
    with pytest.raises(DataError, match=r"has no PPG beside its EEG \(--config eeg\)"):
        source.read("s1_a", {"PPG": pulse})
