"""What an option of older tools is called today."""

from collections.abc import Sequence

_OLDER_FORMS = {
    "--no-amp": "--precision fp32",
    "--pretrain-channels": "nothing: the checkpoint knows its channels",
    "--finetune-channels": "--channels ACC_X,ACC_Y,ACC_Z,PPG,ECG",
    "--multiprocess": "--workers N",
    "--save-interval": "--save-every N",
    "--log-interval": "--log-every N",
}


def older_form(arguments: Sequence[str]) -> str:
    """Return today's form of an option that older tools had, if one was typed."""
    for older, today in _OLDER_FORMS.items():
        if older in arguments:
            return f"{older} is now {today}"
    if "--channels" in arguments:
        rest = list(arguments[arguments.index("--channels") + 1 :])
        names = [name for name in rest[: _first_option(rest)] if not name.startswith("-")]
        if len(names) > 1:
            return f"channels are one word now: --channels {','.join(names)}"
    return ""


def _first_option(words: Sequence[str]) -> int:
    return next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
