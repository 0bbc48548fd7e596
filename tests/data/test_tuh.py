"""TUH's tree and names, on real recordings that the test rewrites so: 250 Hz, EEG FP1-REF, T3."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import signal

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.core.errors import DataError
from biosig_cli.data.readers.tuh import TuhFolder
from biosig_cli.data.windows import cut_record
from biosig_cli.services.build_windows import BuildWindowsConfig
from tests.eeg_recordings import write_edf

OLD = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
PLAIN = load_config(BuildWindowsConfig, file="eeg_tuh")


def write_tuh(
    real_data, folder, record, name, *, sampling_hz=250.0, reference="REF", tree="01_tcp_ar"
):
    """Rewrite a recording of EEGMAT as TUH has it; return the tracks that it had."""
    source = open_source(str(real_data / "eegmat"))
    tracks = source.read(record, PLAIN.recipe.channels).tracks
    ratio = Fraction(sampling_hz / 500).limit_denominator(1000)
    wanted = {
        f"EEG {OLD.get(each, each).upper()}-{reference}": signal.resample_poly(
            track.samples[: 500 * 60].astype(float), ratio.numerator, ratio.denominator
        )
        for each, track in tracks.items()
    }
    length = len(next(iter(wanted.values())))
    hum = 20 * np.sin(2 * np.pi * 60 * np.arange(length) / sampling_hz)
    wanted = {each: samples + hum for each, samples in wanted.items()}
    extra = {f"EEG A1-{reference}": hum, f"EEG EKG1-{reference}": hum, "PHOTIC-REF": hum * 0}
    # The order of TUH, where nothing stands where it stood.
    turned = dict(reversed(list(wanted.items())))
    path = folder / "edf" / "000" / name[:8] / name[9:13] / tree / f"{name}.edf"
    write_edf(path, extra | turned, sampling_hz)
    return tracks


@pytest.fixture
def tuh(real_data, tmp_path):
    tracks = write_tuh(real_data, tmp_path, "Subject00_1", "aaaaaaab_s001_t000")
    write_tuh(real_data, tmp_path, "Subject01_1", "aaaaaaac_s003_t001", sampling_hz=256.0,
              reference="LE", tree="02_tcp_le")  # fmt: skip
    return open_source(str(tmp_path)), tracks


def test_tuh_is_recognised_by_its_tree_and_its_patients_by_the_names(tuh):
    source, _ = tuh
    assert isinstance(source, TuhFolder)
    assert set(source.subjects().values()) == {"aaaaaaab", "aaaaaaac"}
    assert set(source.electrodes()) == set(PLAIN.recipe.channels)


def test_windows_of_both_rates_and_references_are_alike_and_free_of_hum(tuh):
    source, _ = tuh
    settings = ["windows.min_record_s=50", "windows.edge_s=5"]
    recipe = load_config(BuildWindowsConfig, file="eeg_tuh", settings=settings).recipe
    for record in source.ids():
        cut = cut_record(source.read(record, recipe.channels), recipe, subject="x")
        assert cut.data.shape[1:] == (19, 200)
        assert cut.columns["start_s"].min() == 5
        assert cut.columns["start_s"].max() + 2 <= 55
        scales = {float(cut.columns[f"scale_{name}"][0]) for name in recipe.channels}
        assert len(scales) == 1
        assert 2 < scales.pop() < 20
        frequencies, power = signal.welch(cut.data.astype(float), 100.0, nperseg=200)
        alpha = power[..., (frequencies >= 8) & (frequencies <= 12)].mean()
        # 60 Hz would stand at 40 Hz; beside it, the filter takes nothing away.
        at, beside = (power[..., frequencies == hz].mean() for hz in (40, 37))
        assert at < beside < alpha


def test_names_and_not_places_make_the_channels(tuh):
    source, tracks = tuh
    record = source.read(next(r for r in source.ids() if "aaaaaaab" in r), PLAIN.recipe.channels)
    for name in ("T7", "P8", "O1", "Fz"):
        there = signal.resample_poly(tracks[name].samples[:30_000].astype(float), 1, 2)
        hum = 20 * np.sin(2 * np.pi * 60 * np.arange(len(there)) / 250)
        assert record.tracks[name].samples == pytest.approx(there + hum, abs=0.05)


def test_short_files_and_files_without_an_electrode_are_left_out_with_the_reason(tuh):
    source, _ = tuh
    record = source.read(source.ids()[0], PLAIN.recipe.channels)
    with pytest.raises(DataError, match="60 s is short, wanted are recordings of 300 s"):
        cut_record(record, PLAIN.recipe, subject="x")
    more = {"Oz": PLAIN.recipe.channels["O1"].model_copy(update={"tracks": ("Oz",)})}
    with pytest.raises(DataError, match=r"has no Oz .*found O2, O1"):
        source.read(source.ids()[0], PLAIN.recipe.channels | more)
