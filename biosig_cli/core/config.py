"""Frozen, checked settings: where each value comes from, and what is said when one is wrong.

A value given by flag wins, then `--set key=value`, then the config file, then the environment
(`BIOSIG_*`), then the default.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from biosig_cli.core.errors import ConfigError

COMMANDS = (
    "prepare_splits",
    "build_windows",
    "pretrain",
    "inflate",
    "finetune",
    "evaluate",
    "audit",
    "smoke",
    "embed",
    "predict",
    "export",
)
C = TypeVar("C", bound="Config")

MOST_VALUES = 200_000
"""Values in a file of settings, its references followed; ours have some hundred."""
LONGEST_VALUE = 200
"""Letters of a wrong value that are shown."""

SHARED = ("channels", "sets", "windows", "dataset")
"""Parts of a recipe: they describe a source, and belong to the commands that read recordings."""


class Config(BaseModel):
    """Base of all settings: frozen, no unknown keys, the docstring of a field is its help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
    )

    recipe_parts: ClassVar[tuple[str, ...]] = ()
    """Which of the shared parts of a recipe the command reads."""

    @model_validator(mode="before")
    @classmethod
    def _keep_kind_of_default(cls, data: Any) -> Any:
        """Let `model: {dropout: 0.1}` change the default model without naming its kind again."""
        if not isinstance(data, dict):
            return data
        kinds = {
            name: field.default.kind
            for name, field in cls.model_fields.items()
            if isinstance(data.get(name), dict) and hasattr(field.default, "kind")
        }
        return data | {name: {"kind": kind} | data[name] for name, kind in kinds.items()}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Return the config that `data` describes.

        Raises:
            ConfigError: With one line per problem, the path of the key, and what was meant.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"expected settings, found {_short(data)}")
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            lines = [_explain(cls, problem) for problem in error.errors()]
            raise ConfigError(
                "\n".join(lines), hint="`biosig COMMAND --help` lists the settings"
            ) from None

    def dump(self) -> dict[str, Any]:
        """Return plain values that `parse` turns back into the same config."""
        return self.model_dump(mode="json")


def load_config(
    cls: type[C],
    *,
    file: str | None = None,
    parts: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> C:
    """Return the config of a command from all the places that a value may come from.

    Args:
        cls: The command's config.
        file: A YAML or JSON file, or the name of a shipped config.
        parts: Parts of other files, which count as files do.
        settings: `key.sub=value` strings, values in YAML.
        flags: Dotted path to value; None means not given.
        environment: Top-level values of the environment.

    Raises:
        ConfigError: If the file can't be read or a value is wrong.
    """
    data = dict(environment or {})
    if file is not None:
        _merge(data, section(read_file(find_config(file)), cls))
    _merge(data, parts or {})
    for path, value in (flags or {}).items():
        if value is not None and path.endswith(".kind"):
            _change_kind(data, path.removesuffix(".kind"), value)
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} has no '='", hint="write --set key.sub=value")
        _put(data, path.strip(), _parse_yaml(value, f"--set {setting}"))
    for path, value in (flags or {}).items():
        if value is not None:
            _put(data, path, value)
    return cls.parse(data)


def section(data: dict[str, Any], cls: type[Config]) -> dict[str, Any]:
    """Return what a recipe `data` says to the command whose config is `cls`.

    A recipe serves several commands: a key that is a command's name holds that command's
    settings, and the shared parts go to the commands that read recordings.

    Raises:
        ConfigError: If what stands under the command's name are no settings.
    """
    # A recipe describes windows; what trains on some lists their stores under that name.
    is_recipe = any(
        isinstance(data.get(key), Mapping) for key in (*COMMANDS, "sets", "windows", "dataset")
    )
    foreign = set(COMMANDS) | (set(SHARED) - set(cls.recipe_parts) if is_recipe else set())
    own = {key: value for key, value in data.items() if key not in foreign}
    of_command = data.get(command_of(cls)) or {}
    if not isinstance(of_command, Mapping):
        raise ConfigError(
            f"{command_of(cls)}: expected the command's settings, found {_short(of_command)}"
        )
    return own | dict(of_command)


def part_of(file: str | None, *keys: str) -> dict[str, Any]:
    """Return the parts called `keys` of a recipe, nothing where no file is given.

    Raises:
        ConfigError: If it lacks the first of them.
    """
    if file is None:
        return {}
    data = read_file(find_config(file))
    if keys[0] not in data:
        raise ConfigError(
            f"{file} has no `{keys[0]}:`", hint=f"it has {', '.join(data) or 'nothing'}"
        )
    return {key: data[key] for key in keys if key in data}


def command_of(cls: type[Config]) -> str:
    """Return the command that `cls` configures: `BuildWindowsConfig` gives `build_windows`."""
    name = cls.__name__.removesuffix("Config")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def shipped_configs() -> dict[str, Path]:
    """Return the configs that come with the package, by name."""
    package = Path(__file__).parents[1]
    folders = (package / "configs", package.parent / "configs")
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """Return the file at path `name`, or the shipped config called `name`.

    `configs/windows.yaml` means the shipped file too where no such file lies in the working
    folder, so that the documented commands run anywhere.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    is_shipped_path = path.parent in (Path(), Path("configs")) and path.suffix in ("", ".yaml")
    if is_shipped_path and path.stem in shipped:
        return shipped[path.stem]
    close = difflib.get_close_matches(path.stem, shipped, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(
        f"no config file {name!r}, and no shipped config of that name",
        hint=f"{meant}shipped: {', '.join(shipped)}",
    )


def read_file(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML or JSON file.

    Raises:
        ConfigError: If the file can't be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    data = _parse_json(text, path) if path.suffix == ".json" else _parse_yaml(text, path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds a {type(data).__name__}, not settings", hint="expected `key: value`"
        )
    return data


def _parse_json(text: str, where: object) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid JSON: {error}") from None


def _parse_yaml(text: str, where: object) -> Any:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from None
    if not _is_small(data):
        raise ConfigError(
            f"{where} unfolds to more than {MOST_VALUES:,} values",
            hint="write less, or use fewer of YAML's references (*name)",
        )
    return data


def _is_small(data: Any) -> bool:
    """Return whether a value, its references followed, has an end that is not far.

    YAML's references make a page of text a value of any size, or one that holds itself.
    """
    n_values, waiting = 0, [data]
    while waiting and n_values <= MOST_VALUES:
        value = waiting.pop()
        n_values += 1
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)
    return not waiting


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that differs, by its path."""
    old, new = flat(before), flat(now)
    return [
        f"{key}: {old.get(key)!r} then, {new.get(key)!r} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values in nested settings by their path: `{"plan.lr": 2e-3, ...}`."""
    paths: dict[str, Any] = {}
    for key, value in data.items():
        is_group = isinstance(value, Mapping)
        paths |= flat(value, f"{prefix}{key}.") if is_group else {f"{prefix}{key}": value}
    return paths


def _merge(base: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _put(data: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; a `*` in it stands for every key there is."""
    first, _, rest = path.partition(".")
    for key in list(data) if first == "*" else [first]:
        if rest:
            child = data.get(key)
            data[key] = dict(child) if isinstance(child, Mapping) else {}
            _put(data[key], rest, value)
        else:
            data[key] = value


def _change_kind(data: dict[str, Any], path: str, kind: Any) -> None:
    """Leave out what a file says of a thing of another kind: its settings are of no use here."""
    *parents, last = path.split(".")
    for parent in parents:
        data = data.get(parent) or {}
    before = data.get(last)
    if isinstance(before, Mapping) and before.get("kind", kind) != kind:
        data[last] = {"kind": kind}


def _explain(cls: type[Config], problem: Any) -> str:
    keys = _keys(cls, problem["loc"])
    path = ".".join(keys)
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        return f"{path}.kind: expected {context['expected_tags']}, found {context['tag']!r}"
    if problem["type"] == "literal_error":
        return f"{path}: expected {problem['ctx']['expected']}, found {_short(problem['input'])}"
    if problem["type"] == "value_error":
        # Our own validators say what was found themselves.
        message = str(problem["ctx"]["error"])
        return f"{path}: {message}" if path else message
    if problem["type"] != "extra_forbidden":
        if problem["type"] == "missing":
            return f"{path}: needed, and not given"
        return f"{path}: {problem['msg']}, found {_short(problem['input'])}"
    meant = _meant(cls, keys)
    return f"{path}: unknown key" + (f", did you mean {meant}?" if meant else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _keys(cls: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys that lead to a value, without the kinds that pydantic puts among them."""
    keys, models = [], [cls]
    for part in location:
        chosen = [model for model in models if _kind(model) == part]
        if chosen and len(models) > 1:
            models = chosen
            continue
        keys.append(str(part))
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        # Where it is no field, it is a place in a list, or a free name.
        models = list(_models(fields[0].annotation)) if fields else models
    return keys


def _kind(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return field.default if field else None


def _meant(cls: type[Config], path: list[str]) -> str | None:
    """Return the path that a misspelt one may stand for."""
    # Of two keys of one name the outer is meant more often.
    known = sorted(_paths(cls), key=lambda name: name.count("."))
    by_name: dict[str, str] = {}
    for name in known:
        by_name.setdefault(name.rsplit(".", 1)[-1], name)
    close = difflib.get_close_matches(path[-1], by_name, n=1)
    if not close:
        return None
    # Under a free name, such as a channel's, the misspelt key stands in the right place.
    is_free = any(part not in by_name for part in path[:-1])
    return ".".join([*path[:-1], close[0]]) if is_free else by_name[close[0]]


def _paths(cls: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in cls.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
