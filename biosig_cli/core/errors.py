"""One tree of errors: each branch has its exit code, each error says what to do next."""


class BiosigError(Exception):
    """Root of the tree; catch this one at the edge, raise one of its children."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(BiosigError):
    """A flag, a config file or an output folder that can't be used as it is."""

    exit_code = 2


class DataError(BiosigError):
    """A recording, a split file or a window store that can't be used."""

    exit_code = 3


class DownloadError(DataError):
    """A file that a server did not send now, and may send another time."""


class DiskFullError(DataError):
    """A disk that has no room for what is to be written."""


class SignalError(DataError):
    """Samples or signal settings that make no sense, such as an empty band."""


class CheckpointError(BiosigError):
    """Weights that can't be found, fetched or matched."""

    exit_code = 4


class TrainingError(BiosigError):
    """Training that went wrong, or a check of it that failed."""

    exit_code = 5


class LeakageError(BiosigError):
    """What is to be scored was seen in training, or can't be trusted to be unseen."""

    exit_code = 6


class InterruptedRunError(BiosigError):
    """The user stopped the command; what was done so far is saved."""

    exit_code = 130
