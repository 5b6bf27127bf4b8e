"""The errors of zen-edge: one small tree. Each message says what was given, what was expected and what to do."""


class ZenEdgeError(Exception):
    """Something the user can mend; the CLI prints it in one line and exits with `exit_status`."""

    exit_status = 1


class OptionError(ZenEdgeError):
    """A generation or pipeline option that the runtime does not know or cannot honour."""


class InputError(ZenEdgeError):
    """An input the model cannot take: too long, of the wrong kind, or unreadable."""


class AudioError(InputError):
    """Audio that cannot be read, or that holds no sound: no such file, damaged, empty, not finite."""


class UnsupportedModelError(ZenEdgeError):
    """A checkpoint that zen-edge refuses, named with the nearest thing that works."""


class CheckpointError(ZenEdgeError):
    """A checkpoint folder that cannot be read as one."""


class MissingDependencyError(ZenEdgeError):
    """A library that an extra installs is not there, or two stand in each other's way."""


class BundleError(ZenEdgeError):
    """A damaged, incomplete or hostile bundle."""

    exit_status = 3


class CheckFailedError(ZenEdgeError):
    """A check that did not hold: parity, or the verification after an export."""

    exit_status = 3


class ModuleError(ZenEdgeError):
    """A module of one's own that cannot be loaded, run or traced, or whose inputs or outputs are not tensors."""
