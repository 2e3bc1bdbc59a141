"""The time by which a run has to end: limits.minutes."""

import time
from dataclasses import dataclass


@dataclass
class Deadline:
    """When training has to end, so that the best network can still be tested in time.

    `minutes` of the run, null: never; `started`: when the run began, by time.perf_counter(). `images_left`: the
    images that the network has to see after training.
    """

    minutes: float | None
    started: float
    images_left: int

    def passed(self, seconds_per_image: float) -> bool:
        """Whether there is no more time than for the images that are left, at `seconds_per_image` each."""
        if self.minutes is None:
            return False
        return time.perf_counter() - self.started + self.images_left * seconds_per_image >= 60 * self.minutes
