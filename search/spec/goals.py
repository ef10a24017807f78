"""The keys of a spec for goals besides the metric: several objectives, and limits."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data.base.errors import UserError, choose
from search.train.costs import COSTS

FRONT = "front"  # the pruner for several objectives


class GoalKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    objectives: list[str] = Field(
        [],
        description="several goals, such as [val_accuracy, num_parameters]: the metric, and other validation metrics, "
        "num_parameters, model_mb, latency_ms or train_seconds; trials are then ranked by Pareto fronts",
    )
    limits: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="upper bounds: {num_parameters: 50000, latency_ms: 2, model_mb: 5, train_seconds: 60}; "
        "configurations that are too large are proposed again, trials that are too slow are refused at their first "
        "report; neither kind is ever ranked, exported or best",
    )

    @field_validator("limits", mode="before")
    @classmethod
    def _limits_are_costs(cls, written: Any) -> Any:
        for name in written if isinstance(written, dict) else ():
            choose("limit", str(name), COSTS)
        for name, value in written.items() if isinstance(written, dict) else ():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"{name} should be a number; got {value!r:.40}")
        return written

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults_for_objectives(cls, written: Any) -> Any:
        if isinstance(written, dict) and written.get("objectives"):
            return {"pruner": FRONT, "duplicate_trials": "redraw", **written}
        return written

    @property
    def measured(self) -> list[str]:
        """The costs among the limits and objectives, which are measured for every trial."""
        return [name for name in COSTS if name in (*self.limits, *self.objectives)]
