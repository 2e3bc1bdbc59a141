"""Every error that a user can cause, with its exit code.

CnntrainError
├── ConfigError      2    the command line or a YAML file
├── DataError        3    images, labels, splits, weights, run folders that can't be read
└── TrainingError    4    training itself: a loss that is not a number, no memory or disk left
    └── NotFinite

Stopped            130    by SIGINT, or 143 by SIGTERM, 138 by SIGUSR1: not an error; the state is saved
"""


class CnntrainError(Exception):
    """An error that the user can fix: shown as a message, never as a traceback."""

    exit_code = 1


class ConfigError(CnntrainError):
    """The request is invalid; `problems` holds one text for each problem."""

    exit_code = 2

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems


class DataError(CnntrainError):
    """Images, labels, weights or a run folder are missing or can't be read."""

    exit_code = 3


class TrainingError(CnntrainError):
    """Training can't continue."""

    exit_code = 4


class NotFinite(TrainingError):
    """A loss or a weight is NaN or infinite."""


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number
