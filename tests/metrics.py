"""What `metrics.jsonl` says that is the same whenever a run is repeated."""

import json
from pathlib import Path
from typing import Any

from biosig_cli.engine.pace import TIMINGS


def without_timings(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in TIMINGS}
        for line in lines
    ]
