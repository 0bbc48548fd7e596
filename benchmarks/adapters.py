"""Channel adapters compared: what a frozen encoder is worth with each, and what it costs.

python benchmarks/adapters.py STORE [STORE ...] --label NAME [--epochs N]

The first store is probed, by a linear probe with each subject left out in turn; the encoder is
pretrained on all of them by masked modelling, in turn, with the same settings for each adapter.
Figures of masked modelling are no measure here: a spline makes targets that their neighbours tell.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import peak_memory_gb
from biosig_cli.data.store import open_split
from biosig_cli.models.eeg import EegConfig
from biosig_cli.report.terminal import align
from biosig_cli.services.evaluate import EvaluateConfig, evaluate
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig

KINDS = ("none", "select", "zero_pad", "spline", "perceiver")


def main() -> None:
    """Print a row for each adapter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--label", required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--max-windows", type=int, default=None)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            rows.append(compare(kind, asked, Path(folder) / kind))
            print(*rows[-1], sep="\t", flush=True)
    columns = ("adapter", "probe (95 % interval)", "forward ms", "step windows/s", "parameters")
    Reporter().show(align(columns, rows))
    print(f"peak memory of all together {peak_memory_gb():.1f} GB")


def compare(kind: str, asked: argparse.Namespace, folder: Path) -> tuple[str, ...]:
    """Pretrain with an adapter, probe the encoder, and time it."""
    adapter: dict[str, Any] = {"kind": kind}
    if kind == "select":
        names = [open_split(store, "train").spec.names for store in asked.stores]
        adapter["electrodes"] = [name for name in names[0] if all(name in each for each in names)]
    model = {"kind": "eeg", "width": 64, "n_layers": 3, "adapter": adapter}
    config = {
        "windows": [str(store) for store in asked.stores],
        "output_dir": folder / "run",
        "model": model,
        "max_windows": asked.max_windows,
        "objectives": {"masked_eeg": {}},
        "plan": {"epochs": asked.epochs, "batch_size": 32, "lr": 2e-3, "warmup_epochs": 1},
    }
    start_s = time.process_time()
    result = pretrain(PretrainConfig.parse(config), Reporter(silent=True))
    n_windows = sum(
        min(len(open_split(store, "train")), asked.max_windows or 10**9) for store in asked.stores
    )
    speed = n_windows * asked.epochs / (time.process_time() - start_s)
    probe = {
        "checkpoint": [result.folder],
        "data_dir": asked.stores[0],
        "task": {"kind": "classification", "label": asked.label},
        "output_dir": folder / "probe",
        "folds": 20,
        "n_resamples": 500,
    }
    metrics = evaluate(EvaluateConfig.parse(probe), Reporter(silent=True)).metrics
    best = metrics["cross_validation"]["answers"][0]["levels"]["window"]["auroc"]
    encoder = EegConfig.parse(model).build(open_split(asked.stores[0], "train").spec).eval()
    return (
        kind,
        f"{best['value']:.3f} ({best['low']:.3f} to {best['high']:.3f})",
        f"{forward_ms(encoder):.0f}",
        f"{speed:.0f}",
        f"{sum(p.numel() for p in encoder.parameters()):,}",
    )


@torch.no_grad()
def forward_ms(encoder: torch.nn.Module) -> float:
    """Return processor milliseconds of a forward pass of 32 windows."""
    spec = encoder.spec
    signal = torch.randn(32, spec.n_channels, spec.n_samples)
    encoder(signal)
    start_s = time.process_time()
    for _ in range(5):
        encoder(signal)
    return (time.process_time() - start_s) / 5 * 1000


if __name__ == "__main__":
    main()
