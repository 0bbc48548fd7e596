"""The settings of `biosig pretrain`, and how they divide into phases."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from biosig_cli.core.config import Config, find_config, flat, read_file, section
from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.models.kinds import AnyModel
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.kinds import ObjectivesConfig
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.services.mixed_windows import StoreConfig, check_shares, read_windows
from biosig_cli.services.moving import MoveConfig
from biosig_cli.services.phase_probe import ProbeConfig
from biosig_cli.services.training import TrainingConfig

Windows = Annotated[tuple[StoreConfig, ...], BeforeValidator(read_windows), Field(min_length=1)]
"""Stores to train on; a path alone is one, too."""

OF_A_PHASE = ("windows", "objectives", "move", "plan")
"""Settings that a phase may have of its own."""


class PhaseConfig(Config):
    """What is its own in a phase; what it does not say is as the run says."""

    windows: Windows
    objectives: ObjectivesConfig
    move: MoveConfig = MoveConfig()
    plan: PlanConfig


class PretrainConfig(TrainingConfig):
    """Settings of `biosig pretrain`."""

    windows: Windows = (StoreConfig(store=Path("data/vitaldb_windows")),)
    """Stores to train on: a folder, or several with the share that each is to have."""
    output_dir: Path = Path("artifacts/pretrain")
    """Run folder."""
    channels: tuple[str, ...] | None = None
    """Channels to use, by name; all of the store if not given."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate of the windows, where a bare array does not state it."""
    load_in_memory: bool = False
    """Read all windows at the start, for a slow disk."""
    model: AnyModel = TtmConfig()
    objectives: ObjectivesConfig = ObjectivesConfig(masked=MaskedConfig())
    move: MoveConfig = MoveConfig()
    probe: ProbeConfig | None = None
    """What a line through the frozen encoder is asked before and after, and as it is trained."""
    phases: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], PhaseConfig] = Field(
        default_factory=dict
    )
    """Trainings of one encoder, one after the other, by name: each takes up the weights of the one
    before it, and says what it has of its own of windows, objectives, move and plan."""

    @model_validator(mode="before")
    @classmethod
    def _phases_are_complete(cls, data: Any) -> Any:
        """Give each phase the run's own windows, objectives, move and plan where it has none."""
        phases = data.get("phases") if isinstance(data, dict) else None
        if not isinstance(phases, Mapping):
            return data
        default = {name: cls.model_fields[name].default for name in OF_A_PHASE}
        own = {name: data.get(name, default[name]) for name in OF_A_PHASE}
        return data | {"phases": {name: _completed(own, phase) for name, phase in phases.items()}}

    @model_validator(mode="after")
    def _shares_are_whole(self) -> Self:
        for windows in (self.windows, *(phase.windows for phase in self.phases.values())):
            check_shares(windows)
        return self

    @property
    def steps(self) -> Iterator[tuple[str, "PretrainConfig"]]:
        """Yield the name and the settings of each phase, as a run of its own.

        Its folder is in that of the run; it starts from the one before it, the first one from what
        the run starts from.
        """
        model, probe = self.model, self.probe
        if probe and probe.store is None and self.phases:
            # Every phase is probed on the same windows, whatever its own are.
            first = next(iter(self.phases.values())).windows[0].store
            probe = probe.model_copy(update={"store": first})
        for number, (name, phase) in enumerate(self.phases.items(), start=1):
            own = {each: getattr(phase, each) for each in OF_A_PHASE}
            folder = self.output_dir / f"{number}_{name}"
            own |= {"phases": {}, "output_dir": folder, "model": model, "probe": probe}
            yield name, self.model_copy(update=own)
            model = self.model.model_copy(update={"init_from": str(folder)})


def _completed(own: Mapping[str, Any], phase: Any) -> Any:
    """Return a phase with what the run has beside it; of a plan, setting by setting."""
    if phase is not None and not isinstance(phase, Mapping):
        return phase
    said = dict(phase or {})
    plan = own["plan"].dump() if isinstance(own["plan"], PlanConfig) else own["plan"]
    if isinstance(said.get("plan"), Mapping) and isinstance(plan, Mapping):
        said["plan"] = {**plan, **said["plan"]}
    return {**own, **said}


def names_stores(file: str) -> bool:
    """Say whether a config file names stores, for the run or for a phase."""
    said = flat(section(read_file(find_config(file)), PretrainConfig))
    return any(path.rpartition(".")[2] == "windows" for path in said)


def check_phases_are_addressed(config: PretrainConfig, flags: Mapping[str, Any]) -> None:
    """Refuse flags for an objective where each phase has objectives of its own.

    Raises:
        ConfigError: Naming the flag's setting, and how to say which phase it is for.
    """
    given = [name for name, value in flags.items() if value is not None]
    lost = [name for name in given if name.startswith("objectives.")]
    is_heard = any(phase.objectives == config.objectives for phase in config.phases.values())
    if config.phases and lost and not is_heard:
        first = next(iter(config.phases))
        raise ConfigError(
            f"{lost[0]}: each phase of this config has objectives of its own",
            hint=f"say which: --set phases.{first}.{lost[0]}=...",
        )
