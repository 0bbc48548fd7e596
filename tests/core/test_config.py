"""Settings come from the right place, and a wrong one is explained."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from biosig_cli.core.config import Config, command_of, find_config, flat, load_config, read_file
from biosig_cli.core.errors import ConfigError


class WheelConfig(Config):
    kind: str = "round"
    width: int = Field(2, gt=0)


class BuildWindowsConfig(Config):
    recipe_parts = ("windows",)

    source: str = "default"
    seed: int = 1
    windows: dict[str, float] = {}
    wheel: WheelConfig = WheelConfig(kind="square")


def write(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text, "utf-8")
    return str(path)


def test_flag_beats_set_beats_file_beats_environment_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, "seed: 3")

    def load(**places: object) -> tuple[str, int]:
        config = load_config(BuildWindowsConfig, **places)  # type: ignore[arg-type]
        return config.source, config.seed

    environment = {"seed": 2, "source": "environment"}
    assert load() == ("default", 1)
    assert load(environment=environment) == ("environment", 2)
    assert load(environment=environment, file=file) == ("environment", 3)
    assert load(environment=environment, file=file, settings=["seed=4"])[1] == 4
    assert load(file=file, settings=["seed=4"], flags={"seed": 5})[1] == 5
    assert load(file=file, flags={"seed": None})[1] == 3


def test_misspelt_key_is_refused_with_its_path_and_what_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"wheel\.widht: unknown key, did you mean wheel\.width"):
        load_config(BuildWindowsConfig, settings=["wheel.widht=3"])


def test_misspelt_key_under_a_free_name_keeps_that_name() -> None:
    class Wheels(Config):
        wheels: dict[str, WheelConfig] = {}

    with pytest.raises(ConfigError, match=r"did you mean wheels\.left\.width\?"):
        load_config(Wheels, settings=["wheels.left.widht=3"])


def test_set_beats_the_part_of_a_file(tmp_path: Path) -> None:
    parts = {"windows": {"step_s": 1.0, "length_s": 2.0}}
    config = load_config(BuildWindowsConfig, parts=parts, settings=["windows.step_s=5"])
    assert config.windows == {"step_s": 5.0, "length_s": 2.0}


def test_value_of_wrong_type_names_path_and_value() -> None:
    with pytest.raises(ConfigError, match=r"wheel\.width.*greater than 0.*-1"):
        load_config(BuildWindowsConfig, settings=["wheel.width=-1"])


def test_setting_without_equals_is_explained() -> None:
    with pytest.raises(ConfigError, match="has no '='"):
        load_config(BuildWindowsConfig, settings=["seed"])


def test_part_of_a_nested_config_keeps_the_kind_of_the_default() -> None:
    config = load_config(BuildWindowsConfig, settings=["wheel.width=3"])
    assert (config.wheel.kind, config.wheel.width) == ("square", 3)


def test_a_flag_for_another_kind_leaves_out_what_the_file_says_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path, "wheel: {kind: square, width: 5}")
    same = load_config(BuildWindowsConfig, file=file, flags={"wheel.kind": "square"})
    assert same.wheel == WheelConfig(kind="square", width=5)
    other = load_config(
        BuildWindowsConfig, file=file, settings=["wheel.width=7"], flags={"wheel.kind": "round"}
    )
    assert other.wheel == WheelConfig(kind="round", width=7), "what is set by hand stays"
    other = load_config(BuildWindowsConfig, file=file, flags={"wheel.kind": "round"})
    assert other.wheel == WheelConfig(kind="round", width=2)


def test_recipe_gives_each_command_its_section_and_the_shared_parts(tmp_path: Path) -> None:
    text = "windows: {step_s: 5}\ndataset: {}\nbuild_windows: {seed: 8}\npretrain: {epochs: 3}"
    config = load_config(BuildWindowsConfig, file=write(tmp_path, text))
    assert config.windows == {"step_s": 5}
    assert config.seed == 8


def test_shared_part_of_a_recipe_is_not_taken_for_a_setting_of_the_same_name(
    tmp_path: Path,
) -> None:
    class PretrainConfig(Config):
        channels: tuple[str, ...] = ()

    recipe = write(tmp_path, "channels: {PPG: {}}\nsets: {}\npretrain: {channels: [PPG]}")
    assert load_config(PretrainConfig, file=recipe).channels == ("PPG",)
    flat = write(tmp_path, "channels: [ECG]")
    assert load_config(PretrainConfig, file=flat).channels == ("ECG",)


def test_a_number_such_as_5e_4_is_a_number(tmp_path: Path) -> None:
    config = load_config(BuildWindowsConfig, file=write(tmp_path, "windows: {step_s: 5e-4}"))
    assert config.windows["step_s"] == pytest.approx(0.0005)


def test_dumped_config_can_be_given_back(tmp_path: Path) -> None:
    config = load_config(BuildWindowsConfig, settings=["wheel.width=7", "windows.step_s=1e-7"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.dump()), "utf-8")
    assert load_config(BuildWindowsConfig, file=str(path)) == config


def test_command_is_named_after_its_config() -> None:
    assert command_of(BuildWindowsConfig) == "build_windows"


def test_shipped_config_is_found_by_name_and_by_documented_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("windows").name == "windows.yaml"
    assert find_config("configs/windows.yaml") == find_config("windows")


def test_unknown_config_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file") as caught:
        find_config("windwos")
    assert "did you mean windows?" in caught.value.hint
    with pytest.raises(ConfigError):
        find_config(str(tmp_path / "windows.yaml"))


def test_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_file(Path(write(tmp_path, "a: [")))
    with pytest.raises(ConfigError, match="holds a list"):
        read_file(Path(write(tmp_path, "- a")))


def test_yaml_can_not_make_objects(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_file(Path(write(tmp_path, "a: !!python/object/apply:os.system ['true']")))


def test_nested_settings_are_told_by_their_paths() -> None:
    assert flat({"seed": 1, "plan": {"lr": 0.1, "betas": [0.9]}, "map": {}}) == {
        "seed": 1,
        "plan.lr": 0.1,
        "plan.betas": [0.9],
    }


class SquareConfig(Config):
    kind: Literal["square"] = "square"
    cut: Literal["sharp", "blunt"] = "sharp"


class RoundConfig(Config):
    kind: Literal["round"] = "round"
    width: int = Field(2, gt=0)


class TableConfig(Config):
    leg: Annotated[SquareConfig | RoundConfig, Field(discriminator="kind")] = SquareConfig()
    top: RoundConfig = RoundConfig()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["leg.cut=dull"], r"leg\.cut: expected 'sharp' or 'blunt', found 'dull'"),
        (["leg.kind=flat"], r"leg\.kind: expected 'square', 'round', found 'flat'"),
        (["leg.kind=round", "leg.width=0"], r"leg\.width: .*greater than 0, found 0"),
        (["leg.kind=round", "leg.widht=1"], r"leg\.widht: unknown key, did you mean leg\.width\?"),
        (["top.kind=square"], r"top\.kind: expected 'round', found 'square'"),
    ],
)
def test_a_problem_of_one_kind_among_several_is_told_by_the_key_that_is_set(
    settings: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(TableConfig, settings=settings)
