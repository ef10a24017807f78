"""How long a trial is: counted in reports, of which an epoch has one or more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Length:
    """Of a trial that nothing ends before its time.

    epochs: passes over the training split. reports_per_epoch: how often it is evaluated in each.
    patience: reports without a better score after which it ends all the same; None: never.
    """

    epochs: int
    reports_per_epoch: int = 1
    patience: int | None = None

    @property
    def num_reports(self) -> int:
        return self.epochs * self.reports_per_epoch

    def over(self, step: int, best_step: int) -> bool:
        """Whether the trial ends with this report, by the best one so far."""
        return step >= self.num_reports or self.out_of_patience(step, best_step)

    def out_of_patience(self, step: int, best_step: int) -> bool:
        """Whether it ends with this report, though not all epochs are over."""
        return self.patience is not None and step < self.num_reports and step - best_step >= self.patience

    def iteration(self, step: int, per_epoch: int) -> int:
        """The last iteration before a report, where an epoch has so many; 0 at step 0."""
        epoch, part = divmod(step, self.reports_per_epoch)
        return epoch * per_epoch + part * per_epoch // self.reports_per_epoch
