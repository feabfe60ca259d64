"""How a run can end other than well: each has a status of the command line."""


class StoppedError(Exception):
    """The run was asked to stop; everything is saved. `signal`: by which one."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class DivergedError(RuntimeError):
    """Meta-training went astray; the message says where, and the best theta was exported."""


class ProcessLostError(RuntimeError):
    """Another process of the run was lost, or did not come; the message says which, and why."""
