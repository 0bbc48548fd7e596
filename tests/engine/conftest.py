"""A trainable small enough to know what it must do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_cli.core.progress import Reporter
from biosig_cli.engine.contract import Cut, Losses, Trainable
from biosig_cli.engine.draws import uniform, window_keys
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.stages import Stage
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training


@dataclass(frozen=True)
class Points:
    """A batch of points: 3 numbers in, 1 out."""

    x: Tensor
    y: Tensor
    key: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: str) -> "Points":
        return self


class Data:
    """Points on a plane, `y = x @ [1, -2, 3]`, in batches."""

    def __init__(self, n_points: int, batch_size: int, *, shuffle: bool = True) -> None:
        generator = torch.Generator().manual_seed(n_points)
        self.x = torch.randn(n_points, 3, generator=generator)
        self.y = self.x @ torch.tensor([1.0, -2.0, 3.0])
        self.batch_size, self.shuffle = batch_size, shuffle

    @property
    def n_windows(self) -> int:
        return len(self.x)

    def plan(self, epoch: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(len(self.x), generator=generator)
        rows = order if self.shuffle else torch.arange(len(self.x))
        return list(rows.split(self.batch_size))

    def batches(self, epoch: int, start: int = 0, cut: Cut | None = None) -> Iterator[Points]:
        for batch in self.plan(epoch)[start:]:
            for rows in cut(batch) if cut else [batch]:
                yield Points(self.x[rows], self.y[rows], window_keys(0, epoch, rows))

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [{"record": f"r{row}"} for row in rows]


class Line(Trainable):
    """A linear model; `noise` adds draws to its input, as masks and augmentation do."""

    def __init__(self, noise: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(3, 1)
        self.head = nn.Linear(1, 1)
        self.dropout = nn.Dropout(dropout)
        self.noise = noise

    def forward(self, batch: Points) -> Losses:
        noise = self.noise * uniform(batch.key, 3).float()
        answer = self.head(self.encoder(self.dropout(batch.x + noise)))[:, 0]
        error = (answer - batch.y).square().mean()
        return Losses(error, {"error": error.detach()})

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.head}


@pytest.fixture
def make_training(tmp_path: Path) -> Any:
    """Return a function that makes a training in a folder of its own."""

    def make(
        plan: PlanConfig,
        *,
        folder: str = "run",
        trainable: Trainable | None = None,
        batch_size: int | None = None,
        n_points: int = 100,
        stages: Sequence[Stage] = (),
        **run: Any,
    ) -> Training:
        return Training(
            trainable or Line(),
            Data(n_points, batch_size or plan.batch_size),
            Data(30, 16, shuffle=False),
            plan,
            Run(tmp_path / folder, "cpu", "fp32", Reporter(silent=True), **run),
            stages,
        )

    return make


@pytest.fixture
def plan() -> PlanConfig:
    return PlanConfig(epochs=4, batch_size=16, lr=0.05, warmup_epochs=1)
