"""The same chain from Python: a folder of recordings becomes an encoder, then embeddings.

python examples/chain.py RECORDINGS [OUT]
"""

import sys
from pathlib import Path

import numpy as np
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig


def main(recordings: str, out: Path) -> None:
    """Run the chain on a folder of recordings."""
    say = Reporter()
    splits = prepare_splits(PrepareSplitsConfig(source=recordings, mode="full", output=out), say)
    windows = build_windows(BuildWindowsConfig(split_file=splits.path, outdir=out / "windows"), say)
    plan = PlanConfig(epochs=5, lr=2e-3, batch_size=32, warmup_epochs=1)
    config = PretrainConfig.parse(
        {"windows": windows.outdir, "output_dir": out / "run", "plan": plan}
    )
    run = pretrain(config, say, resume=True)

    encoder = load_encoder(run.checkpoint)
    test = open_split(windows.outdir, "test")
    signal = torch.from_numpy(test.read(np.arange(len(test))))
    with torch.no_grad():
        embeddings = encoder(signal).tokens.mean(dim=(1, 2))
    print(f"{len(test)} test windows as vectors of {embeddings.shape[1]}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "artifacts/chain"))
