"""The recipe of Ray Tune's and MLflow's documentation: a function trainable, OptunaSearch, ASHA, MLflowLoggerCallback.

https://docs.ray.io/en/latest/tune/examples/tune-mlflow.html, .../optuna_example.html, .../tune-pytorch-cifar.html
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.rivals import optuna_space, texts, training, work


def train_model(config: dict[str, Any], fixed: dict[str, Any], corpus: texts.Corpus | None = None) -> None:
    if corpus is None:
        corpus = texts.load(fixed["corpus"], fixed["max_words"])
    for metrics, state in training.train({**work.settled(config), **fixed}, corpus):
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder, "checkpoint.pt"))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


class Results(tune.Callback):
    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **info: Any) -> None:
        work.keep(trial.trial_id, trial.config, result)


def main() -> None:
    asked = work.read()
    search = OptunaSearch(
        optuna_space.SPACES[asked.space],
        metric="val_accuracy",
        mode="max",
        points_to_evaluate=[work.as_point(point) for point in asked.points] or None,
        seed=asked.fixed["seed"],
    )
    shared: dict[str, Any] = {"fixed": asked.fixed}
    if asked.encode_once:
        shared["corpus"] = texts.load(asked.fixed["corpus"], asked.fixed["max_words"])
    scheduler = ASHAScheduler(metric="val_accuracy", mode="max", max_t=asked.fixed["epochs"], grace_period=1)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train_model, **shared), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=None if asked.points else scheduler,
            num_samples=len(asked.points) or -1,
        ),
        run_config=tune.RunConfig(
            name="recipe",
            storage_path=str(Path("results").absolute()),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=f"sqlite:///{Path('mlflow.db').absolute()}", experiment_name="recipe"
                ),
                Results(),
            ],
        ),
    )
    results = tuner.fit()
    print("best:", results.get_best_result("val_accuracy", "max").metrics)


if __name__ == "__main__":
    main()
