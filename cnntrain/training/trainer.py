"""The course of a run through its phases: from where it stands, with what was saved, through stops and rollbacks."""

import contextlib
from typing import TYPE_CHECKING

from cnntrain.checkpoints.checkpoint import newest
from cnntrain.errors import NotFinite, Stopped
from cnntrain.report import plots

if TYPE_CHECKING:
    from cnntrain.checkpoints.resumed import Resumed
    from cnntrain.training.phase_trainer import PhaseTraining
    from cnntrain.training.run import Job


class Course:
    """All the training of a job."""

    def __init__(self, job: "Job"):
        self.job = job
        self.under_way: PhaseTraining | None = None

    def go_on(self, resumed: "Resumed") -> None:
        """Puts back the state of a checkpoint, and what belongs to it."""
        job = self.job
        job.run_dir.metrics.unlink(missing_ok=True)  # of a run that is extended
        for text in resumed.warnings:
            job.terminal.warning(text)
        if resumed.found is None:
            job.terminal.line("there is no checkpoint to go on from: the run begins anew")
            return
        job.progress = job.keeper.put_back(resumed.found)
        if job.progress.history:
            job.run_dir.write_history(job.progress.history)
        job.terminal.line(f"going on after {job.progress.place()}")

    def run(self) -> None:
        """Trains; when a signal asks for it, saves where the run stands and raises Stopped."""
        job = self.job
        try:
            with job.requests.deferred():
                self.train()
        except Stopped:
            if self.under_way is not None:
                job.keeper.save(job.progress, self.under_way.loop)
            job.keeper.checkpoints.wait()
            raise
        finally:
            job.keeper.checkpoints.close()
            with contextlib.suppress(OSError):  # a full disk has been said already
                job.keeper.write_best()
                if job.progress.history:
                    plots.draw_curves(job.progress.history, job.run_dir.curves)

    def train(self) -> None:
        """All phases that are left; where a number is not finite, from the last checkpoint on, if asked to."""
        job = self.job
        if job.experiment.on_nan == "rollback" and not job.progress.phase:
            job.keeper.save(job.progress, None)
        while True:
            try:
                return self.train_phases()
            except NotFinite as error:
                self.roll_back(error)

    def train_phases(self) -> None:
        """One phase after another, from where the run stands."""
        from cnntrain.training.phase_trainer import PhaseTraining

        job, phases = self.job, self.job.experiment.schedule.phases
        names = list(phases)
        past = names.index(job.progress.phase) if job.progress.phase else 0
        for name in names[past:]:
            if name != job.progress.phase:
                job.keeper.forget_phase()
                job.progress.begin(name)
            if not job.progress.at_end_of(phases[name], job.epochs[name]):
                self.under_way = PhaseTraining(job, name, phases[name])
                self.under_way.run()
                self.under_way = None
        job.keeper.checkpoints.wait()

    def roll_back(self, error: NotFinite) -> None:
        """Puts back the last checkpoint, for a lower learning rate; raises the error where that is not asked for."""
        job, settings, rollbacks = self.job, self.job.experiment.rollback, self.job.progress.rollbacks + 1
        self.under_way = None
        job.keeper.checkpoints.settle()
        found, complaints = newest(job.run_dir.checkpoints)
        if job.experiment.on_nan != "rollback" or rollbacks > settings.times or found is None:
            raise error
        for text in [str(error).splitlines()[0], *complaints]:
            job.terminal.warning(text)
        job.progress = job.keeper.put_back(found)
        job.progress.rollbacks = rollbacks
        job.terminal.line(
            f"rollback {rollbacks} of {settings.times}: going on after {job.progress.place()} with"
            f" {settings.learning_rate_factor**rollbacks:g} of the learning rate"
        )
