"""The reference of config files: every setting with its type, default and meaning; every recipe."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from biosig_cli.core.config import shipped_configs
from biosig_cli.services.configs import CONFIGS


def settings_page() -> str:
    """Return the page of all settings, by command, as Markdown."""
    parts = [
        "# Settings",
        "",
        "Made from the code. A file given with `--config` may hold any of these, and `--set",
        "KEY.SUB=VALUE` sets one by its path. A key that is a command's name (`finetune:`) holds",
        "the settings of that command; `biosig configs validate FILE` checks a file, `biosig",
        "configs show FILE` says where each value comes from.",
        "",
    ]
    for command, cls in CONFIGS.items():
        parts += [f"## {command.replace('_', '-')}", "", *_table(cls)]
    parts += ["## Groups of settings", ""]
    for cls, title in _titles().items():
        parts += [f"### {title}", "", _first_sentence(cls), "", *_table(cls)]
    return "\n".join(parts)


def recipes_page() -> str:
    """Return the page of the shipped recipes, as they are."""
    parts = [
        "# Shipped recipes",
        "",
        "`--config NAME` takes one, `biosig configs copy NAME` gives you the file to change.",
        "",
    ]
    for name, path in shipped_configs().items():
        parts += [f"## {name}", "", "```yaml", path.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(parts)


@cache
def _titles() -> dict[type[BaseModel], str]:
    """Return the heading of every group of settings; two of one name are told apart."""
    groups = {inner: inner.__name__ for cls in CONFIGS.values() for inner in _inside(cls)}
    names = list(groups.values())
    for cls, name in groups.items():
        if names.count(name) > 1:
            groups[cls] = f"{name} of {cls.__module__.rsplit('.', 1)[-1]}"
    return dict(sorted(groups.items(), key=lambda each: each[1]))


def _table(cls: type[BaseModel]) -> list[str]:
    rows = ["| setting | type | default | what it is |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        cells = (f"`{name}`", _type(field.annotation), _default(field), _meaning(field))
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, ""]


def _inside(cls: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[Any]:
    """Yield the groups that a config holds, and those that they hold, each once."""
    seen = set() if seen is None else seen
    for field in cls.model_fields.values():
        for inner in _models(field.annotation):
            if inner not in seen:
                seen.add(inner)
                yield inner
                yield from _inside(inner, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(annotation: Any) -> str:
    groups = list(dict.fromkeys(_models(annotation)))
    if groups:
        titles = [_titles()[cls] for cls in groups]
        return " or ".join(f"[{each}](#{each.lower().replace(' ', '-')})" for each in titles)
    plain = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    plain = plain.replace("typing.", "").replace("collections.abc.", "").replace("pathlib.", "")
    return f"`{plain}`"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", "")
        return kind and f"`kind: {kind}`"
    text = json.dumps(value, default=lambda each: _plain(each))
    return f"`{text}`" if len(text) <= 60 else "see the shipped recipe"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _meaning(field: FieldInfo) -> str:
    return _cell(field.description or "")


def _first_sentence(cls: type[BaseModel]) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
