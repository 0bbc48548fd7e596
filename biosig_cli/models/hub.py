"""Fetching released weights from the model hub: quickly, or with a clear refusal."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineError
from pathlib import Path

from biosig_cli.core.errors import CheckpointError

FILES = ("config.json", "model.safetensors")
DEADLINE_S = 8.0
"""How long the hub may take to answer at all."""


def parse_hub_id(name: str) -> tuple[str, str] | None:
    """Return (repository, revision) of `owner/name[@revision]`; None if `name` is no such thing."""
    match = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", name)
    return (match[1], match[2] or "main") if match and not name.startswith(".") else None


def fetch_from_hub(repository: str, revision: str) -> Path:
    """Return a folder with the configuration and weights of a released model.

    What was fetched before is used again without asking the hub.

    Raises:
        CheckpointError: If the hub can't be reached or does not have them.
    """
    cached = _cached(repository, revision)
    if cached is not None:
        return cached
    _ask(repository, revision)
    from huggingface_hub import hf_hub_download

    try:
        paths = [hf_hub_download(repository, file, revision=revision) for file in FILES]
    except OSError as error:
        raise _refuse(repository, revision, f"the download failed: {error}") from None
    return Path(paths[0]).parent


def _cached(repository: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, file, revision=revision) for file in FILES]
    paths = [path for path in found if isinstance(path, str)]
    return Path(paths[0]).parent if len(paths) == len(FILES) else None


def _ask(repository: str, revision: str) -> None:
    """Ask the hub once whether it has the model: the library alone retries for most of a minute."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        status = pool.submit(_status, repository, revision).result(timeout=DEADLINE_S)
    except DeadlineError:
        raise _refuse(repository, revision, f"no answer within {DEADLINE_S:.0f} s") from None
    except OSError as error:
        raise _refuse(repository, revision, f"no connection ({type(error).__name__})") from None
    finally:
        # A look-up that hangs in the resolver can't be stopped; it must not be waited for.
        pool.shutdown(wait=False, cancel_futures=True)
    if status >= 400:
        said = {401: "a login is needed", 403: "access is refused", 404: "there is no such model"}
        raise _refuse(repository, revision, f"{said.get(status, 'the hub answered')} ({status})")


def _status(repository: str, revision: str) -> int:
    import requests
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(repository, FILES[0], revision=revision)
    timeouts_s = (DEADLINE_S / 2, DEADLINE_S / 2)
    answer = requests.head(
        url, headers=build_hf_headers(), timeout=timeouts_s, allow_redirects=True
    )
    return int(answer.status_code)


def _refuse(repository: str, revision: str, why: str) -> CheckpointError:
    hub = os.environ.get("HF_ENDPOINT", "the model hub")
    return CheckpointError(
        f"weights {repository}, revision {revision}, can't be had from {hub}: {why}",
        hint="check the connection; or log in with `hf auth login`; or give a local folder that "
        "holds config.json and model.safetensors: --init-from FOLDER to pretrain, --pretrained "
        "FOLDER to finetune",
    )
