"""The length of a trial, counted in reports; an epoch has one or more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Length:
    """The length of a trial that is not stopped early.

    epochs: passes over the training split. reports_per_epoch: evaluations in each epoch.
    patience: the trial ends after this many reports without improvement; None: never.
    """

    epochs: int
    reports_per_epoch: int = 1
    patience: int | None = None

    @property
    def num_reports(self) -> int:
        return self.epochs * self.reports_per_epoch

    def over(self, step: int, best_step: int) -> bool:
        """Whether the trial ends with this report, given the best report so far."""
        return step >= self.num_reports or self.out_of_patience(step, best_step)

    def out_of_patience(self, step: int, best_step: int) -> bool:
        """Whether the trial ends with this report, before its last epoch."""
        return self.patience is not None and step < self.num_reports and step - best_step >= self.patience

    def iteration(self, step: int, per_epoch: int) -> int:
        """The last iteration before a report, for this many iterations per epoch; 0 at step 0."""
        epoch, part = divmod(step, self.reports_per_epoch)
        return epoch * per_epoch + part * per_epoch // self.reports_per_epoch
