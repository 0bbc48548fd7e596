"""Pretraining with a loop of your own: store, encoder, objective, and what each step is.

python examples/pretrain_in_python.py STORES [STEPS]

`biosig pretrain` does more: resume, precision, several processes, checkpoints, curves. Here are its
parts, for a question that it does not ask. STORES is what `build-windows` wrote.
"""

import sys
from pathlib import Path

import torch

from biosig_cli.data.loader import Loader
from biosig_cli.data.store import open_split
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.masked import MaskedConfig

BATCH_SIZE = 32


def main(stores: Path, n_steps: int) -> None:
    """Train for some steps, then say what the hidden part of new people's windows costs."""
    torch.manual_seed(42)
    train, val = open_split(stores, "train"), open_split(stores, "val")
    encoder = TtmConfig(width=64).build(train.spec)
    ask = MaskedConfig(mask_ratio=0.4).build(encoder)
    parameters = [*encoder.parameters(), *ask.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)

    loader = Loader(train, batch_size=BATCH_SIZE, seed=42, shuffle=True)
    step = epoch = 0
    while step < n_steps:
        for batch in loader.batches(epoch):
            losses = ask(encoder, batch)  # Losses: a total to learn from, and its parts by name
            optimizer.zero_grad()
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
            if step == n_steps:
                break
        epoch += 1

    encoder.eval()
    ask.eval()  # which also scores the trivial answers, on the same masks
    with torch.no_grad():
        batch = next(Loader(val, batch_size=len(val), seed=0, shuffle=False).batches(0))
        parts = ask(encoder, batch).parts
    print(f"hidden patches of {len(val)} windows of people not trained on, after {step} steps:")
    print(f"  this encoder {float(parts['msm']):.3f}, predicting zero {float(parts['zero']):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
