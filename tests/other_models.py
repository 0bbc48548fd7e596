"""A stand-in for models that others wrote, where their package is not installed."""

import sys
from types import ModuleType

from torch import nn


class Net(nn.Module):
    """Made as models of braindecode are: what classifies is `final_layer`."""

    def __init__(self, n_chans, n_times, sfreq, chs_info, n_outputs, n_filters=4):
        super().__init__()
        if n_times < 50:
            raise ValueError("windows are too short")
        self.told = (n_times, sfreq, chs_info)
        self.across = nn.Conv1d(n_chans, n_filters, 1)
        self.along = nn.Conv1d(n_filters, n_filters, n_times // 2, stride=n_times // 4)
        self.unused = nn.Linear(2, 2)
        self.final_layer = nn.Linear(3 * n_filters, n_outputs)

    def forward(self, x):
        return self.final_layer(self.along(self.across(x)).relu())


class Several(Net):
    """Has no one layer that classifies."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.final_layer = nn.ModuleList([nn.Linear(2, 2)])


def stand_in_for_braindecode(monkeypatch):
    """Let `braindecode.models` hold these two."""
    package, models = ModuleType("braindecode"), ModuleType("braindecode.models")
    package.models, models.Net, models.Several = models, Net, Several
    monkeypatch.setitem(sys.modules, "braindecode", package)
    monkeypatch.setitem(sys.modules, "braindecode.models", models)
