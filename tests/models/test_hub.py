"""Released weights come from the hub, or a refusal comes soon; the hub here is a server of ours."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from biosig_cli.core.errors import CheckpointError
from biosig_cli.models import hub
from biosig_cli.models.hub import parse_hub_id
from biosig_cli.models.pretrained import find_weights


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ibm/TTM", ("ibm/TTM", "main")),
        ("ibm-granite/ttm-r1@1024_96_v1", ("ibm-granite/ttm-r1", "1024_96_v1")),
        ("./folder", None),
        ("folder", None),
        ("a/b/c", None),
    ],
)
def test_hub_ids_are_told_from_paths(name: str, expected: tuple[str, str] | None) -> None:
    assert parse_hub_id(name) == expected


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, dict]]:
    """A stand-in for the hub on this machine, whose answers a test may change."""
    state: dict = {"status": 200, "delay_s": 0.0, "files": {}, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            state["asked"].append(self.path)
            time.sleep(state["delay_s"])
            body = state["files"].get(self.path.rsplit("/", 1)[-1], b"")
            self.send_response(state["status"])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{len(body):040d}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    import huggingface_hub.constants
    import huggingface_hub.file_download

    monkeypatch.setenv("HF_ENDPOINT", url)
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        for name, value in (
            ("ENDPOINT", url),
            ("HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"),
            ("HF_HUB_CACHE", str(tmp_path / "cache")),
        ):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    yield url, state
    server.shutdown()
    server.server_close()


def refusal(name: str) -> CheckpointError:
    start_s = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        find_weights(name)
    assert time.monotonic() - start_s < 10
    return caught.value


def test_unreachable_hub_is_refused_soon_with_three_remedies(endpoint, monkeypatch) -> None:
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(
        "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    error = refusal("ibm-granite/granite-timeseries-ttm-r1@1024_96_v1")
    assert error.exit_code == 4
    assert "ibm-granite/granite-timeseries-ttm-r1, revision 1024_96_v1" in str(error)
    for remedy in ("connection", "hf auth login", "--init-from FOLDER"):
        assert remedy in error.hint


def test_hub_that_hangs_is_refused_soon(endpoint, monkeypatch) -> None:
    monkeypatch.setattr(hub, "DEADLINE_S", 1.0)
    endpoint[1]["delay_s"] = 3.0
    assert "can't be had" in str(refusal("ibm/TTM"))


@pytest.mark.parametrize(("status", "said"), [(404, "no such model"), (401, "login"), (500, "500")])
def test_what_the_hub_answers_is_said(endpoint, status: int, said: str) -> None:
    endpoint[1]["status"] = status
    assert said in str(refusal("ibm/TTM"))


def test_weights_are_fetched_once_and_read(endpoint, tmp_path: Path) -> None:
    settings = {
        "model_type": "tinytimemixer",
        "context_length": 32,
        "patch_length": 8,
        "patch_stride": 8,
        "d_model": 16,
        "num_layers": 1,
        "adaptive_patching_levels": 0,
        "expansion_factor": 2,
        "gated_attn": True,
    }
    save_file({"backbone.weight": torch.ones(2), "head.bias": torch.ones(1)}, tmp_path / "w")
    state = endpoint[1]
    state["files"] = {
        "config.json": json.dumps(settings).encode(),
        "model.safetensors": (tmp_path / "w").read_bytes(),
    }
    released = find_weights("someone/small-ttm@v2")
    assert released.config.n_positions == 4
    assert list(released.backbone) == ["weight"]
    assert all("/someone/small-ttm/resolve/v2/" in path for path in state["asked"])
    n_asked = len(state["asked"])
    assert find_weights("someone/small-ttm@v2").sha256 == released.sha256
    assert len(state["asked"]) == n_asked


def test_path_that_is_not_there_is_not_taken_for_a_hub_id() -> None:
    assert "no weights at" in str(refusal("/nowhere/weights"))


def test_folder_without_weights_is_explained(tmp_path: Path) -> None:
    assert "config.json" in str(refusal(str(tmp_path)))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    assert "can't be read" in str(refusal(str(tmp_path)))
