"""`biosig configs`: the shipped recipes, what a file makes of every setting, and what differs."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from biosig_cli.core.artifacts import atomic_path
from biosig_cli.core.config import (
    COMMANDS,
    SHARED,
    Config,
    find_config,
    flat,
    load_config,
    read_file,
    section,
    shipped_configs,
)
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment
from biosig_cli.data.channels import shipped_channels, shipped_sets, shipped_windows
from biosig_cli.services.audit import AuditConfig
from biosig_cli.services.build_windows import BuildWindowsConfig
from biosig_cli.services.embed import EmbedConfig
from biosig_cli.services.evaluate import EvaluateConfig
from biosig_cli.services.export import ExportConfig
from biosig_cli.services.finetune import FinetuneConfig
from biosig_cli.services.inflate import InflateConfig
from biosig_cli.services.predict import PredictConfig
from biosig_cli.services.prepare_splits import PrepareSplitsConfig
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.smoke import SmokeConfig

CONFIGS: dict[str, type[Config]] = {
    "prepare_splits": PrepareSplitsConfig,
    "build_windows": BuildWindowsConfig,
    "pretrain": PretrainConfig,
    "inflate": InflateConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "audit": AuditConfig,
    "smoke": SmokeConfig,
    "embed": EmbedConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
}
"""By command, what it reads of a file."""

IN_ENVIRONMENT = ("source", "device", "precision", "num_workers")


@dataclass(frozen=True)
class Setting:
    """A resolved value, and where it comes from."""

    path: str
    value: Any
    origin: str
    """The file, `BIOSIG_...`, a shipped file, or `default`."""


def list_configs(reporter: Reporter) -> list[dict[str, str]]:
    """List the shipped recipes with a line each; returned as name, commands and what it is."""
    rows = []
    for name, path in shipped_configs().items():
        first = path.read_text("utf-8").split("\n#\n")[0].splitlines()
        about = " ".join(line.removeprefix("#").strip() for line in first if line.startswith("#"))
        commands = ", ".join(each.replace("_", "-") for each in commands_of(read_file(path)))
        rows.append((name, commands, about))
    reporter.table("shipped configs", ("name", "for", "what it is"), rows)
    return [{"name": name, "for": commands, "about": about} for name, commands, about in rows]


def commands_of(data: Mapping[str, Any]) -> list[str]:
    """Return the commands that a file speaks to: those it names, or the one whose keys it has."""
    named = [name for name in COMMANDS if name in data]
    if named:
        return named
    if set(data) <= set(SHARED) and not isinstance(data.get("channels"), list):
        return ["build_windows"]
    fits = {name: len(set(data) & set(cls.model_fields)) for name, cls in CONFIGS.items()}
    # Where two know as many of its keys: pretraining is what most files are for.
    return [max(fits, key=lambda name: (fits[name], name == "pretrain"))]


def resolve(file: str) -> dict[str, list[Setting]]:
    """Return every setting that the commands which a file speaks to have with it, by command.

    Raises:
        ConfigError: If it can't be read, or a setting is wrong.
    """
    data = read_file(find_config(file))
    return {name: _resolved(file, data, CONFIGS[name]) for name in commands_of(data)}


def _resolved(file: str, data: dict[str, Any], cls: type[Config]) -> list[Setting]:
    here = [name for name in IN_ENVIRONMENT if name in cls.model_fields]
    environment = Environment().values(*here)
    loaded = flat(load_config(cls, file=file, environment=environment).dump())
    said = flat(section(data, cls))
    recipe = BuildWindowsConfig.recipe_parts if "windows" in cls.recipe_parts else ()
    shipped = {
        "channels.yaml": flat({"channels": shipped_channels(), "sets": shipped_sets()}),
        "windows.yaml": flat({"windows": shipped_windows()}),
    }

    def origin(path: str) -> str:
        if _has(said, path):
            return file
        if path in environment:
            return f"BIOSIG_{'DATA' if path == 'source' else path.upper()}"
        for name, values in shipped.items() if recipe else ():
            if _has(values, path):
                return name
        return "the run's" if path.startswith("phases.") else "default"

    return [Setting(path, value, origin(path)) for path, value in loaded.items()]


def _has(said: Mapping[str, Any], path: str) -> bool:
    """Return whether a path, a group that it is in, or a value in it is stated."""
    parts = path.split(".")
    inside = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return not inside.isdisjoint(said) or any(each.startswith(f"{path}.") for each in said)


def show_config(file: str, reporter: Reporter) -> None:
    """Show every resolved value of a file, and where it comes from."""
    for command, settings in resolve(file).items():
        rows = [(each.path, _plain(each.value), each.origin) for each in settings]
        reporter.table(command.replace("_", "-"), ("setting", "value", "from"), rows)


def as_json(file: str) -> dict[str, Any]:
    """Return what `show_config` shows as plain values."""
    return {
        command: {each.path: {"value": each.value, "from": each.origin} for each in settings}
        for command, settings in resolve(file).items()
    }


def copy_config(name: str, target: Path | None, reporter: Reporter) -> Path:
    """Copy a shipped recipe, to be changed.

    Raises:
        ConfigError: If there is none of that name, or the target is there.
    """
    source = find_config(name)
    target = target or Path(source.name)
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise ConfigError(f"{target} is there already", hint="give another name: --output FILE")
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    reporter.fact("written", target, f"try it: biosig configs validate {target}")
    return target


def validate_config(file: str, reporter: Reporter) -> dict[str, int]:
    """Make sure that every command which a file speaks to can read it.

    Returns:
        How many values it states, by command.

    Raises:
        ConfigError: With a line for each problem.
    """
    stated = {
        command: sum(each.origin == file for each in settings)
        for command, settings in resolve(file).items()
    }
    for command, n_values in stated.items():
        reporter.fact("valid", file, f"{command.replace('_', '-')}: {n_values} values stated")
    return stated


def diff_configs(one: str, other: str, reporter: Reporter) -> list[tuple[str, str, Any, Any]]:
    """Show the resolved values in which two files differ; returned as command, path, two values.

    Raises:
        ConfigError: If they speak to no command in common.
    """
    first, second = resolve(one), resolve(other)
    shared = [command for command in first if command in second]
    if not shared:
        raise ConfigError(
            f"{one} is for {', '.join(first)}, {other} for {', '.join(second)}",
            hint="compare two files for the same command",
        )
    found = []
    for command in shared:
        here, there = ({s.path: s.value for s in each[command]} for each in (first, second))
        found += [
            (command, path, here.get(path), there.get(path))
            for path in {**here, **there}
            if here.get(path) != there.get(path)
        ]
    rows = [(f"{command}: {path}", _plain(a), _plain(b)) for command, path, a, b in found]
    if rows:
        reporter.table("", ("setting", one, other), rows)
    else:
        reporter.say(f"no value differs ({', '.join(shared)})")
    return found


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors.

    A file states only what it changes, so nothing in it is required.
    """
    models = [(cls, "validation") for cls in CONFIGS.values()]
    refs, known = models_json_schema(models, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    of = {name: refs[cls, "validation"] for name, cls in CONFIGS.items()}
    parts = known["$defs"]["BuildWindowsConfig"]["properties"]
    recipe = {
        "type": "object",
        "properties": {name: parts[name] for name in SHARED} | of,
        "additionalProperties": False,
    }
    defs = _relaxed(known["$defs"])
    for name in ("PretrainConfig", "PhaseConfig"):
        properties = defs[name]["properties"]
        properties["windows"] = {"anyOf": [{"type": "string"}, properties["windows"]]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "biosig config",
        "anyOf": [_relaxed(recipe), *of.values()],
        "$defs": defs,
    }


def _relaxed(schema: Any) -> Any:
    """Return a schema in which nothing is required, and a thing may leave out its kind."""
    if isinstance(schema, list):
        return [_relaxed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # `required` may also be the name of a setting, whose value is a schema.
    kept = {k: v for k, v in schema.items() if not (k == "required" and isinstance(v, list))}
    kept.pop("discriminator", None)
    renamed = {"anyOf" if key == "oneOf" else key: value for key, value in kept.items()}
    return {key: _relaxed(value) for key, value in renamed.items()}


def _plain(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
