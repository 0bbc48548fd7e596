"""Every shipped config loads, and comes back the same from its own dump."""

from typing import Any

import pytest

from biosig_cli.core.config import COMMANDS, SHARED, Config, load_config, read_file, shipped_configs
from biosig_cli.services.build_windows import BuildWindowsConfig
from biosig_cli.services.finetune import FinetuneConfig
from biosig_cli.services.prepare_splits import PrepareSplitsConfig
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.smoke import SmokeConfig

SHIPPED = shipped_configs()
CONFIGS: dict[str, type[Config]] = {
    "prepare_splits": PrepareSplitsConfig,
    "build_windows": BuildWindowsConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "smoke": SmokeConfig,
}


def commands_of(data: dict[str, Any]) -> list[str]:
    """Return the commands that a file speaks to: named, or by the keys it has."""
    named = [name for name in COMMANDS if name in data]
    if named:
        return named
    return ["build_windows"] if set(data) <= set(SHARED) else ["pretrain"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_config_loads_and_round_trips(name: str) -> None:
    data = read_file(SHIPPED[name])
    assert data, "an empty config says nothing"
    for command in commands_of(data):
        config = load_config(CONFIGS[command], file=name)
        assert CONFIGS[command].parse(config.dump()) == config


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_config_says_what_it_is_for_and_how_it_is_used(name: str) -> None:
    head = SHIPPED[name].read_text("utf-8").split("\n\n")[0]
    assert head.startswith("# ")
    assert "Used by:" in head
    assert "biosig " in head


def test_documented_names_are_shipped() -> None:
    expected = {
        "channels",
        "windows",
        "windows_1024",
        "but_ppg",
        "bidmc",
        "ppg_long",
        "ppg_segments",
        "demo",
        "ssl_pretrain",
        "ssl_pretrain_ttm_r1",
        "finetune_but_ppg",
        "finetune_heart_rate",
        "finetune_rhythm",
        "ssl_pretrain_rhythm",
        "ppg_autoencoder",
        "eeg",
        "eeg_hbn",
        "eeg_tuh",
        "eeg_phase1b",
        "eeg_phase2",
        "eeg_challenge1",
        "eeg_challenge2",
        "eeg_tokenizer",
        "eeg_labram_multitask",
    }
    assert expected <= set(SHIPPED)


def test_autoencoder_recipe_weighs_and_decays_as_the_design_says() -> None:
    config = load_config(PretrainConfig, file="ppg_autoencoder")
    asked = config.objectives.reconstruction
    assert (asked.mse_weight, asked.ssim_weight, asked.fft_weight) == (0.5, 0.3, 0.2)
    assert (asked.augment.shift, asked.augment.scale, asked.augment.snr) == (0.1, (0.85, 1.15), 0.8)
    assert (config.plan.weight_decay, config.plan.clip_norm) == (1e-5, 1.0)
    assert asked.stages(config.plan.epochs, config.plan.lr)[-1].name == "whole windows"


def test_pretraining_recipe_has_the_values_of_the_design() -> None:
    config = load_config(PretrainConfig, file="ssl_pretrain")
    assert (config.plan.epochs, config.plan.batch_size, config.plan.lr) == (100, 128, 5e-4)
    assert (config.model.context_length, config.model.patch_size, config.model.width) == (
        1250,
        125,
        192,
    )
    assert (config.objectives.masked.mask_ratio, config.objectives.masked.stft_weight) == (0.4, 0.3)
