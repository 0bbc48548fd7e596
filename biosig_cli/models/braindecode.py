"""Models of braindecode as encoders: a baseline that others wrote, beside ours."""

import warnings
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from inspect import isclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.models.base import Encoder, Encoding, ModelConfig
from biosig_cli.signal.spec import Channel, SignalSpec

HEAD_RADIUS_M = 0.095
"""Of the sphere that braindecode is told positions on, as mne has it."""


class BraindecodeConfig(ModelConfig):
    """Which model of braindecode; `kind: braindecode:NAME` says the same."""

    free: ClassVar[frozenset[str]] = frozenset(("init_from",))

    kind: Literal["braindecode"] = "braindecode"
    name: str
    """Class of `braindecode.models`, such as EEGNet or ShallowFBCSPNet."""
    settings: dict[str, Any] = {}
    """What its constructor is given besides channels, length and rate of the windows."""

    @property
    def called(self) -> str:
        """What messages call it."""
        return f"{self.kind}:{self.name}"

    def build(self, spec: SignalSpec) -> "BraindecodeEncoder":
        """Return an encoder, with random weights, for windows of `spec`.

        Raises:
            ConfigError: If braindecode can't be loaded, has no such model, or can't make it for
                these windows.
        """
        models = load_models()
        known = [name for name in dir(models) if isclass(getattr(models, name))]
        if self.name not in known:
            close = get_close_matches(self.name, known, n=3, cutoff=0.4)
            raise ConfigError(
                f"braindecode {_version('braindecode')} has no model {self.name!r}",
                hint=f"did you mean {' or '.join(close)}?" if close else "see braindecode.models",
            )
        with warnings.catch_warnings():
            # They tell users of braindecode of its own past and future.
            warnings.simplefilter("ignore")
            return BraindecodeEncoder(spec, self, getattr(models, self.name))


class BraindecodeEncoder(Encoder):
    """A model without its last layer: what that would be given is the one token of a window.

    Attributes:
        net: The model; in place of its `final_layer`, features are passed on as they are.

    Source:
        braindecode (Schirrmeister et al., Human Brain Mapping 38:5391, 2017, doi
        10.1002/hbm.23730), models as published there, without their pretrained weights.
    """

    can_hide = False

    def __init__(self, spec: SignalSpec, config: BraindecodeConfig, model: type[nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.name = config.called
        self.n_positions, self.patch_length = 1, spec.n_samples
        # Its filters over electrodes may be anywhere: it takes those that it was made for.
        self.channel_dims = None
        self.fusion = ""
        self.net, features = self._make(config, model)
        self.width = features.shape[1]
        torch.autograd.backward(features.sum())
        idle = [name for name, each in self.named_parameters() if each.grad is None]
        self.zero_grad()
        self.only_when_hidden = tuple(idle)
        self.blocks = tuple(
            f"net.{name}"
            for name, part in self.net.named_children()
            if any(True for _ in part.parameters())
        )

    def montage(self, spec: SignalSpec | None = None) -> tuple[Channel, ...]:
        """Return one channel that stands for all: tokens are of all electrodes together."""
        return (Channel(name="all", kind="eeg"),)

    def forward(
        self, signal: Tensor, hidden: Tensor | None = None, spec: SignalSpec | None = None
    ) -> Encoding:
        """Encode windows (B, C, T) as tokens (B, 1, 1, D); see `Encoder`.

        Raises:
            ConfigError: If something is to be hidden.
        """
        if hidden is not None:
            raise ConfigError(f"{self.name} can't be kept from looking: nothing can be hidden")
        return Encoding(self.net(signal)[:, None, None], signal[:, :, None])

    def _make(self, config: BraindecodeConfig, model: type[nn.Module]) -> tuple[nn.Module, Tensor]:
        """Return the model without its last layer, and the features (1, D) of a silent window."""
        spec = self.spec
        try:
            net = model(
                n_chans=spec.n_channels,
                n_times=spec.n_samples,
                sfreq=spec.sampling_hz,
                chs_info=[_about(channel) for channel in spec.channels],
                n_outputs=2,
                **config.settings,
            )
            if isinstance(net.final_layer, nn.ModuleList):
                raise TypeError("its final_layer is several")
            net.final_layer = nn.Flatten(1)
            features = net.eval()(torch.zeros(1, spec.n_channels, spec.n_samples))
            if features.ndim != 2 or len(features) != 1:
                raise ValueError(f"without its final_layer it gives {tuple(features.shape)}")
        except Exception as error:  # Whatever the model of others does not like.
            raise ConfigError(
                f"{self.name} can't be made for windows of {spec.n_channels} channels x "
                f"{spec.n_samples} samples at {spec.sampling_hz:g} Hz: {error}",
                hint="its settings go into model.settings, such as {drop_prob: 0.5}; or take "
                "another model, or windows that it is made for",
            ) from None
        return net.train(), features


def load_models() -> Any:
    """Return the module `braindecode.models`.

    Raises:
        ConfigError: If it is not installed, or does not load beside this torch.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import braindecode.models
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"models of braindecode need a package that is not installed ({error.name})",
            hint="pip install 'biosig[braindecode]'",
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"braindecode {_version('braindecode')} can't be loaded: torchaudio "
            f"{_version('torchaudio')} beside torch {torch.__version__}: {first}",
            hint="torchaudio must be built as torch is; for a torch without CUDA: pip install "
            "--force-reinstall --no-deps torchaudio --index-url "
            "https://download.pytorch.org/whl/cpu",
        ) from None
    return braindecode.models


def _about(channel: Channel) -> dict[str, Any]:
    """Return what braindecode is told of an electrode: name, kind and place in metres."""
    place = [HEAD_RADIUS_M * each for each in channel.position or ()]
    about: dict[str, Any] = {"ch_name": channel.name, "kind": "eeg"}
    # As in mne: the first three are where it sits.
    return about | ({"loc": torch.tensor([*place, *[0.0] * 9]).double().numpy()} if place else {})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
