"""A search that starts from what earlier ones found: mapped, tried first, remembered, counted. No Ray, no training."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from conftest import FinishedSearch, command

from data.base.errors import UserError
from search.base.schema import Outcome
from search.run.inherit import MOST, _at_most, inherit, into
from search.spec import inherited, space
from search.spec import read as specs
from search.spec.inherited import Inherited, Point
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.trial import Trial, Worker
from search.train.training import Result

HERE = Worker("127.0.0.1", 1)
EARLIER = "other-20260101-120000"


def make_spec(**changes: Any) -> Spec:
    own = {
        "architectures": ["mlp"],
        "space": {"hidden_size": {"low": 8, "high": 64}, "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
        "epochs": 1,
        "trials": 12,
        "baselines": "none",
        "pruner": "none",
    }
    return specs.validate(own | changes, files=False)


def report(studies: Studies, trial: Trial, score: float, diverged: str | None = None) -> None:
    best = {"val_accuracy": score, "val_loss": 1 - score}
    studies.report(trial, Result(1, {}, [(1, 0.5, 0.5)], 1, best, diverged, 2.0), HERE)


def good_at(wide: float) -> Any:
    """A score with an optimum, so that one earlier search is related and another one misleads."""
    return lambda trial: 1 - abs(trial.hyperparameters["hidden_size"] - wide) / 100


def run(studies: Studies, quality: Any) -> list[Trial]:
    while trial := studies.ask():
        report(studies, trial, quality(trial))
    return studies.trials()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One earlier search, of other texts, in a space that goes further."""
    folder = tmp_path_factory.mktemp("searches") / EARLIER
    folder.mkdir()
    spec = make_spec(
        corpus="rotten-tomatoes",
        seed=5,
        space={"hidden_size": {"low": 8, "high": 128}, "learning_rate": 1e-3},
        trials=8,
    )
    (folder / "spec.yaml").write_text(specs.dump(spec), encoding="utf-8")
    studies = Studies(EARLIER, spec, folder, "new")
    run(studies, good_at(100))
    return folder.parent


def test_the_best_come_first_and_then_the_default(root: Path) -> None:
    spec = inherit(make_spec(**{"from": EARLIER}), root)
    trials = Studies(EARLIER, specs.read_spec(root / EARLIER), root / EARLIER).ranked("mlp")
    (found,) = spec.inherited
    assert (found.trials, found.epochs, found.seconds) == (8, 8, 16.0)
    assert found.clipped == sum(trial.hyperparameters["hidden_size"] > 64 for trial in trials) > 0
    assert [point.quantile for point in found.points] == sorted((each.quantile for each in found.points), reverse=True)
    studies = Studies("s", spec, root, "new", storage=optuna.storages.InMemoryStorage())
    points = spec.first_points("mlp")
    tried = [trial.hyperparameters for trial in (studies.ask() for _ in range(len(points) + 1)) if trial]
    assert tried[: len(points)] == points
    assert points[:2] == [found.points[0].values, found.points[1].values]
    assert spec.default_point("mlp") in points
    assert [trial.number for trial in studies.trials()] == list(range(len(tried)))  # no trial is anybody else's


def test_what_was_inherited_outlives_the_earlier_search_and_reads_back_equal(root: Path) -> None:
    spec = inherit(make_spec(**{"from": [EARLIER]}), root)
    again = specs.load(specs.dump(spec), "spec.yaml")
    assert again == spec
    assert inherit(again, root / "nowhere") == spec
    assert spec.earlier == [EARLIER]
    assert yaml.safe_load(specs.dump(spec))["from"] == [EARLIER]
    assert "inherited" not in spec.short()
    assert str(spec.short()["from"]) == f"['{EARLIER}']"
    assert "inherited" not in specs.compared(spec)


def test_a_resumed_search_draws_the_same_after_its_first_trials(root: Path) -> None:
    spec = inherit(make_spec(**{"from": EARLIER}), root)

    def drawn(*, crash: bool) -> list[dict[str, Any]]:
        storage = optuna.storages.InMemoryStorage()
        studies = Studies("s", spec, root, "new", storage=storage)
        if crash:  # when only the first was enqueued
            studies._studies["mlp"].optuna.enqueue_trial(spec.first_points("mlp")[0])
            studies = Studies("s", spec, root, "resume", storage=storage)
        return [trial.hyperparameters for trial in run(studies, good_at(50))]

    points = spec.first_points("mlp")
    assert drawn(crash=True)[: len(points)] == drawn(crash=False)[: len(points)] == points
    assert drawn(crash=False) == drawn(crash=False)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random"])
@pytest.mark.parametrize("policy", ["repeat", "redraw"])
def test_every_sampler_starts_warm_and_keeps_its_count(sampler: str, policy: str, root: Path) -> None:
    spec = inherit(make_spec(**{"from": EARLIER}, sampler=sampler, trials=5, duplicate_trials=policy), root)
    studies = Studies("s", spec, root, "new", storage=optuna.storages.InMemoryStorage())
    trials = run(studies, good_at(50))
    assert [trial.outcome for trial in trials] == [Outcome.COMPLETE] * 5
    assert studies.num_owed == 0


def test_the_prior_draws_where_earlier_searches_were_good_and_fades(tmp_path: Path) -> None:
    grid = make_spec().spaces["mlp"]
    default = make_spec().default_point("mlp")
    points = [
        Point(
            trial=f"mlp-{i}",
            values=default | {"hidden_size": 64 - i, "learning_rate": 1e-2},
            quantile=1 - (i + 0.5) / 40,
        )
        for i in range(40)
    ]
    assert all(space.point_key(grid, point.values) for point in points)
    found = Inherited(search=EARLIER, architecture="mlp", trials=40, epochs=40, seconds=40, points=points)
    early, late, cold = [], [], []
    for seed in range(8):
        for warm in (True, False):
            spec = make_spec(seed=seed, trials=12, inherited=[found] if warm else [])
            studies = Studies("s", spec, tmp_path, "new", storage=optuna.storages.InMemoryStorage())
            sizes = [trial.hyperparameters["hidden_size"] for trial in run(studies, good_at(8))]  # the opposite is true
            if warm:
                early, late = early + sizes[3:6], late + sizes[9:]
            else:
                cold += sizes[3:6]
    assert sum(early) / len(early) > sum(cold) / len(cold)
    assert sum(late) / len(late) < sum(early) / len(early)


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ({"low": 8, "high": 64}, 100, 64),
        ({"low": 8, "high": 64}, 8.6, 9),
        ({"low": 0.1, "high": 0.5}, 0.3, 0.3),
        ({"low": 0.1, "high": 0.5}, None, "dropped"),
        ({"low": 0.0, "high": 0.5, "step": 0.25}, 0.3, 0.25),
        ([8, 16, 32], 20, 16),
        ([8, 16, 32], "x", "dropped"),
        (["tanh", "relu"], "relu", "relu"),
        (["tanh", "relu"], "gelu", "dropped"),
        ([None, 1.0], 3.0, 1.0),
        ([None, 1.0], None, None),
        ("relu", "tanh", "relu"),
    ],
)
def test_values_are_moved_into_the_space_or_dropped(written: Any, value: Any, expected: Any) -> None:
    parsed: Any = space.parse("space.x", written)
    point = into({"x": parsed}, {"x": value}, {"x": "unused"})
    assert point == (None if expected == "dropped" else {"x": expected})


def test_what_a_trial_did_not_have_is_as_by_default() -> None:
    parsed: Any = space.parse("space.x", [1, 2])
    assert into({"x": parsed}, {"y": 1}, {"x": 2}) == {"x": 2}


def test_several_searches_take_turns_and_many_trials_are_thinned() -> None:
    points = [Point(trial=f"mlp-{i}", values={"x": i}, quantile=0.5) for i in range(3)]
    one, two = (
        Inherited(search=name, architecture="mlp", trials=3, epochs=3, seconds=3, points=own)
        for name, own in (("a", points), ("b", points[::-1]))
    )
    assert inherited.enqueued([one, two], 3) == [{"x": 0}, {"x": 2}, {"x": 1}]
    assert inherited.lines([one, two])[0] == "Inherited from a: trials of mlp 3 (3 epochs, 3 s)."
    thinned = _at_most(points * MOST)
    assert (len(thinned), thinned[0], thinned[-1]) == (MOST, points[0], points[-1])


def test_what_the_earlier_search_inherited_counts_too(root: Path) -> None:
    middle = inherit(make_spec(**{"from": EARLIER}, trials=4), root)
    folder = root / "middle-20260102-120000"
    folder.mkdir()
    (folder / "spec.yaml").write_text(specs.dump(middle), encoding="utf-8")
    run(Studies(folder.name, middle, folder, "new"), good_at(50))
    (found,) = inherit(make_spec(**{"from": "middle"}), root).inherited
    assert (found.trials, found.epochs) == (12, 12)


def test_mistakes_are_one_line(root: Path) -> None:
    with pytest.raises(UserError, match="no search 'othr'"):
        inherit(make_spec(**{"from": "othr"}), root)
    with pytest.raises(UserError, match="\\(it has trained mlp\\) fits the space of gru; leave it out"):
        inherit(make_spec(**{"from": "other"}, architectures=["gru"]), root)
    grid = make_spec(**{"from": "other"}, space={"hidden_size": [8, 16]}, sampler="grid", trials=None)
    with pytest.raises(UserError, match="a grid learns nothing from earlier searches"):
        inherit(grid, root)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_starts_from_the_folder_of_another(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    settings = ("architectures=[mlp]", "baselines=none", "trials=3", "seed=7", "max_words=20")
    options = [word for key in settings for word in ("--set", key)]
    done = command("bakeoff", "run", "smoke", "--from", str(smoke_search.folder), *options, cwd=tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert f"Inherited from {smoke_search.id}: trials of mlp {smoke_search.spec.num_trials}" in output
    (folder,) = (tmp_path / "searches").iterdir()
    spec = specs.read_spec(folder)
    (found,) = spec.inherited
    first, *_ = Studies(folder.name, spec, folder).trials()
    assert first.hyperparameters.items() >= found.points[0].values.items()
    ledger = command("bakeoff", "ledger", folder.name, cwd=tmp_path)
    assert ledger.returncode == 0, ledger.stderr
    assert smoke_search.id in ledger.stdout
