"""Syne Tune's local backend, from its documentation: every trial is a new process of a script.

https://syne-tune.readthedocs.io/en/latest/getting_started.html
"""

from pathlib import Path
from typing import Any

from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import choice, finrange, loguniform, randint, uniform
from syne_tune.optimizer.baselines import ASHA, RandomSearch
from syne_tune.results_callback import StoreResultsCallback
from syne_tune.tuner_callback import TunerCallback

from benchmarks.rivals import work

SPACE = {
    "architecture": choice(["rnn", "gru", "mlp", "attention"]),
    "hidden_size": finrange(64, 128, 9, cast_int=True),
    "learning_rate": loguniform(1e-4, 1e-2),
    "dropout": uniform(0.0, 0.5),
    "activation": choice(["none", "relu", "tanh", "sigmoid"]),
    "recurrent_layers": randint(1, 2),
    "tapered_layers": randint(2, 5),
}


class Results(TunerCallback):
    def on_trial_result(self, trial: Any, status: str, result: dict[str, Any], decision: str) -> None:
        work.keep(str(trial.trial_id), trial.config, result)


def main() -> None:
    asked = work.read()
    space = {**SPACE, **asked.fixed}
    if asked.points:
        unused = {"recurrent_layers": 1, "tapered_layers": 2}
        points = [{**unused, **work.as_point(point), **asked.fixed} for point in asked.points]
        scheduler = RandomSearch(
            space, ["val_accuracy"], do_minimize=False, random_seed=asked.fixed["seed"], points_to_evaluate=points
        )
        stop = StoppingCriterion(max_num_trials_started=len(points) - 1)  # it stops when this number is exceeded
    else:
        scheduler = ASHA(
            space,
            "val_accuracy",
            time_attr="epoch",
            max_t=asked.fixed["epochs"],
            do_minimize=False,
            random_seed=asked.fixed["seed"],
        )
        stop = StoppingCriterion()
    Tuner(
        trial_backend=LocalBackend(str(Path(__file__).with_name("syne_tune_trial.py"))),
        scheduler=scheduler,
        stop_criterion=stop,
        n_workers=2,
        sleep_time=0.5,  # the default of 5 s would leave cores idle between such short trials
        wait_trial_completion_when_stopping=True,
        callbacks=[StoreResultsCallback(), Results()],
    ).run()


if __name__ == "__main__":
    main()
