"""What a folder for the Hugging Face hub needs besides the weights."""

import json
from typing import Any

from biosig_cli import __version__
from biosig_cli.models.ttm import TtmEncoder
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.export_model import summary

CARD = "README.md"


def hf_config(model: Candidate) -> dict[str, Any]:
    """Return `config.json`: of a TTM that of its own class, so that transformers builds it."""
    content = model.content
    said = {
        "biosig": {
            "biosig_version": __version__,
            "what": summary(model),
            "model_config": content["model_config"],
            "spec": model.encoder.spec.dump(),
        }
    }
    if isinstance(model.encoder, TtmEncoder):
        settings: dict[str, Any] = json.loads(model.encoder.backbone.config.to_json_string(False))
        return settings | {"architectures": ["TinyTimeMixerModel"]} | said
    return {"model_type": f"biosig_{content['model_config']['kind']}"} | said


def hf_header(model: Candidate) -> str:
    """Return what stands first in the card: what the hub reads, and how it is loaded."""
    kinds = sorted({channel.kind for channel in model.encoder.spec.channels})
    task = [] if model.task is None else [model.task.kind]
    tags = ["biosig", "physiological-signals", model.content["model_config"]["kind"], *kinds, *task]
    tags = list(dict.fromkeys(tags))
    head = ["---", "library_name: biosig", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
    command = "embed" if model.task is None else "predict"
    head += [
        "Load it with biosig, which also makes the windows it takes from raw recordings:",
        "",
        "```",
        f"biosig {command} --checkpoint FOLDER RECORDINGS",
        "```",
        "",
    ]
    if isinstance(model.encoder, TtmEncoder):
        head += [
            "Its backbone alone, which sees each channel by itself, is a TinyTimeMixer of "
            "granite-tsfm, and transformers' own loader takes it:",
            "",
            "```python",
            "from tsfm_public.models.tinytimemixer import TinyTimeMixerModel",
            "",
            'TinyTimeMixerModel.from_pretrained(FOLDER, key_mapping={r"^backbone\\.": ""})',
            "```",
            "",
        ]
    return "\n".join(head)
