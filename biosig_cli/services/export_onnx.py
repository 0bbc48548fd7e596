"""ONNX files of a model: written, tried on real windows beside torch, and made small."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.services.export_model import Exported

Floats = NDArray[np.float32]
Answers = dict[str, Floats]
LIMIT = 1e-4
"""Largest difference from torch that an output may have."""
N_TIMES = 5
"""Passes of which the fastest is told."""
MOST_CALIBRATED, CALIBRATED_SAMPLES = 64, 125_000
"""Windows that static scales are taken from; of long ones, as many as have so many samples."""
MATRICES, KERNELS = ("MatMul", "Gemm"), ("Conv", "ConvTranspose")
"""Operations whose weights become int8."""


def need_onnx() -> None:
    """Make sure that what writes and runs ONNX files is there.

    Raises:
        ConfigError: With the line that installs it.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs {error.name or 'a package'}, which is not installed",
            hint="pip install 'biosig[onnx]'; or export --format safetensors",
        ) from None


def write_onnx(model: Exported, windows: Floats, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a model that takes any number of windows at a time.

    Args:
        model: In eval mode.
        windows: (N, C, T) examples; their number is not kept.
        path: The file.
        metadata: What it says of itself.

    Raises:
        CheckpointError: If torch can't write one of its operations.
    """
    example = torch.from_numpy(windows[:2])
    sizes = ({0: torch.export.Dim("batch", min=1, max=1 << 20)},)
    with torch.no_grad(), _quietly():
        # Once before, so that what an encoder remembers of a montage is not traced.
        model(example)
        try:
            program: Any = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                dynamic_shapes=sizes,
                input_names=["signal"],
                output_names=list(model.outputs),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            why = str(error).strip().partition("\n")[0]
            raise CheckpointError(
                f"torch can't write this model as ONNX: {why}",
                hint="export --format safetensors, or hf",
            ) from None
        program.model.metadata_props.update(metadata)
        program.save(str(path), external_data=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep notes of the exporter and the quantizer, which are for their developers, off screen."""
    loggers = [logging.getLogger(name) for name in (None, "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True)
class Session:
    """An ONNX file that is open."""

    path: Path
    names: tuple[str, str]
    run: Callable[[Floats], Answers]


def open_onnx(path: Path, names: tuple[str, str], n_threads: int) -> Session:
    """Open an ONNX file on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(windows: Floats) -> Answers:
        found = session.run(list(names), {"signal": windows})
        return dict(zip(names, found, strict=True))

    return Session(path, names, run)


@torch.no_grad()
def ask_torch(model: Exported, windows: Floats) -> Answers:
    """Return what torch says of windows (N, C, T)."""
    found = model(torch.from_numpy(windows))
    return {name: each.numpy() for name, each in zip(model.outputs, found, strict=True)}


def compare(model: Exported, session: Session, windows: Floats) -> dict[str, float]:
    """Return how far each output is from torch's at most, of one window and of many at a time.

    Raises:
        CheckpointError: If one is farther than 1e-4.
    """
    farthest = dict.fromkeys(session.names, 0.0)
    for some in (windows[:1], windows[:3], windows):
        expected, found = ask_torch(model, some), session.run(some)
        for name in session.names:
            farthest[name] = max(farthest[name], largest(expected[name], found[name]))
    wrong = {name: value for name, value in farthest.items() if not value < LIMIT}
    if wrong:
        said = ", ".join(f"{name} {value:.1e}" for name, value in wrong.items())
        raise CheckpointError(
            f"the ONNX file differs from torch by more than {LIMIT:g} on {len(windows)} windows: "
            f"{said}; it is not kept",
            hint="export --format safetensors, and report the model's settings",
        )
    return farthest


def largest(expected: Floats, found: Floats) -> float:
    """Return the largest difference; infinite where the shapes differ."""
    if expected.shape != found.shape:
        return float("inf")
    return float(np.abs(expected.astype(np.float64) - found).max())


def relative(expected: Floats, found: Floats) -> float:
    """Return the root of the mean squared difference, as a part of the spread of what is right."""
    expected = expected.astype(np.float64)
    spread = float(expected.std())
    return float(np.sqrt(np.mean((expected - found) ** 2))) / spread if spread else float("nan")


def timed(ask: Callable[[Floats], object], windows: Floats) -> float:
    """Return milliseconds for each of the windows, given all at once: the fastest of some."""
    ask(windows)
    taken_s = []
    for _ in range(N_TIMES):
        start_s = time.perf_counter()
        ask(windows)
        taken_s.append(time.perf_counter() - start_s)
    return 1000 * min(taken_s) / len(windows)


def write_int8(source: Path, target: Path, windows: Floats, metadata: Mapping[str, str]) -> str:
    """Write a file with int8 weights; return how it was done.

    Where there are convolutions, scales of what goes through them are taken from real windows and
    kept (static); matrix products take theirs as they come (dynamic).
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    n_calibrated = max(2, min(MOST_CALIBRATED, CALIBRATED_SAMPLES // windows[0].size))

    class Windows(CalibrationDataReader):  # type: ignore[misc]
        """The windows, one at a time."""

        def __init__(self) -> None:
            self.left = iter(windows[:n_calibrated])

        def get_next(self) -> dict[str, Floats] | None:
            one = next(self.left, None)
            return None if one is None else {"signal": one[None]}

    # Shapes that the exporter noted of parts in between confuse the quantizer, which finds its own.
    model = onnx.load(str(source))
    kinds = {node.op_type for node in model.graph.node}
    del model.graph.value_info[:]
    options = {"weight_type": QuantType.QInt8, "per_channel": True}
    with _quietly():
        if kinds.isdisjoint(KERNELS):
            quantize_dynamic(model, str(target), op_types_to_quantize=list(MATRICES), **options)
            how = "dynamic: int8 weights of matrix products, one scale per column"
        else:
            quantize_static(
                model,
                str(target),
                Windows(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*MATRICES, *KERNELS],
                activation_type=QuantType.QUInt8,
                **options,
            )
            how = f"static: int8 weights and activations, scales from {n_calibrated} windows"
    made = onnx.load(str(target))
    onnx.helper.set_model_props(made, dict(metadata))
    onnx.save(made, str(target))
    return how
