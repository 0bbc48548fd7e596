"""JSON for other programs: the whole answer of a reading command, and nothing beside it."""

import json
from typing import Any

import typer


def print_json(data: Any) -> None:
    """Print data as JSON; what is no number is null."""
    plain = json.loads(json.dumps(data, default=str), parse_constant=lambda _: None)
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
