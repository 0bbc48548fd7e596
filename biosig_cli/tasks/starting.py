"""A last layer that starts as the straight line that a frozen encoder allows.

From zero, few labels and one validation person stop a training before the line is found.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torch import nn

Values = NDArray[np.float64]

PENALTY = 10.0
"""As `fitting` takes it where nothing can be chosen by."""


def start_at_line(
    layer: nn.Linear,
    numbers: Values,
    target: Values,
    *,
    n_classes: int | None,
    is_balanced: bool = False,
) -> None:
    """Fill a layer with the logistic or ridge regression on what it will be given.

    Args:
        layer: F inputs; K outputs for classes, one for values.
        numbers: (N, F) what the training windows give it.
        target: (N,) numbers of classes, or values in units of the output.
        n_classes: K, or None for values.
        is_balanced: Whether every class counts the same in all, however rare.

    Source:
        Kumar et al., ICLR 2022, arXiv 2202.10054: first the line, then everything. Deviation: the
        line is solved, not descended to.
    """
    scaler = StandardScaler().fit(numbers)
    weight = np.zeros((layer.out_features, layer.in_features))
    bias = np.zeros(layer.out_features)
    if n_classes is None:
        line = Ridge(alpha=PENALTY).fit(scaler.transform(numbers), target)
        weight[0], bias[0] = line.coef_, line.intercept_
    else:
        classes = np.unique(target).astype(int)
        weights = "balanced" if is_balanced else None
        line = LogisticRegression(C=1 / PENALTY, class_weight=weights, max_iter=5000)
        line.fit(scaler.transform(numbers), target)
        slopes, offsets = line.coef_, line.intercept_
        if len(classes) == 2:
            slopes, offsets = np.stack([-slopes[0], slopes[0]]) / 2, np.r_[-offsets, offsets] / 2
        weight[classes], bias[classes] = slopes, offsets
    weight /= scaler.scale_
    bias -= weight @ scaler.mean_
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
