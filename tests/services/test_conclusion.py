"""What pretraining says at its end of an objective beside its loss."""

import math

import pytest

from biosig_cli.core.progress import Reporter
from biosig_cli.objectives.contrastive import ContrastiveConfig
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.services.pretrain import tell_more


def test_retrieval_stands_beside_chance_and_what_is_not_defined_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = {"val_retrieval": 0.25, "val_retrieval_chance": 0.0118, "val_retrieval_new": math.nan}
    tell_more(ContrastiveConfig(), best, Reporter())
    said = capsys.readouterr().out
    assert said.index("0.2500") < said.index("0.0118")
    assert "by chance" in said
    assert "retrieval_new" not in said
    tell_more(MaskedConfig(), best, Reporter())
    assert not capsys.readouterr().out
