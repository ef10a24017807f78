"""Optuna alone, with concurrent trials as in its documentation: threads of one process, `optimize(n_jobs=2)`.

https://optuna.readthedocs.io/en/stable/tutorial/10_key_features/004_distributed.html. The corpus is encoded once.
"""

from pathlib import Path

import optuna
import torch

from benchmarks.rivals import optuna_space, texts, training, work


def main() -> None:
    asked = work.read()
    corpus = texts.load(asked.fixed["corpus"], asked.fixed["max_words"])

    def objective(trial: optuna.Trial) -> float:
        optuna_space.SPACES[asked.space](trial)
        config = work.settled(trial.params)
        folder = Path("checkpoints", str(trial.number))
        folder.mkdir(parents=True)
        best = 0.0
        for metrics, state in training.train({**config, **asked.fixed}, corpus):
            torch.save(state, folder / "checkpoint.pt")
            work.keep(str(trial.number), config, metrics)
            best = max(best, metrics["val_accuracy"])
            trial.report(metrics["val_accuracy"], metrics["epoch"])
            if not asked.points and trial.should_prune():
                raise optuna.TrialPruned
        return best

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=asked.fixed["seed"]),
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    )
    optuna_space.start(study, [work.as_point(point) for point in asked.points])
    study.optimize(objective, n_trials=len(asked.points) or None, n_jobs=2)
    print("best:", study.best_value)


if __name__ == "__main__":
    main()
