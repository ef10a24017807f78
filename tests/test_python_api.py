"""Searches from Python: in a thread, in an event loop, beside a Ray that is up or files of the user's, installed."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

from bakeoff import api
from data.base.errors import UserError

OURS = ("MLFLOW_", "RAY_", "TUNE_", "PGCONNECT_", "GIT_PYTHON_")  # what the tests' own process has set


STATE = """
def state():
    import gc, logging, os, signal
    return (
        dict(os.environ), os.getcwd(), gc.get_threshold(), gc.get_freeze_count(),
        [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        [logging.getLogger(each).level for each in ("", "ray", "ray.tune", "optuna")],
    )
"""


def python(code: str, cwd: Path, *options: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """Run some code as a user would: nothing of the tests in the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [sys.executable, *options, "-c", STATE + textwrap.dedent(code)],
        cwd=cwd,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def shadows(folder: Path) -> Path:
    """A folder with a `models` package and a `data.py`, as many have them."""
    folder.joinpath("models").mkdir()
    folder.joinpath("models", "__init__.py").touch()
    folder.joinpath("data.py").write_text(
        "raise RuntimeError('the user's own data.py was imported')\n", encoding="utf-8"
    )
    return folder


def test_importing_it_is_fast_and_changes_nothing(tmp_path: Path) -> None:
    code = """
        before = state()
        import sys, time
        started = time.process_time()
        import bakeoff
        print(time.process_time() - started)
        print(sorted({"torch", "ray", "mlflow", "optuna", "pandas", "numpy", "pydantic"} & set(sys.modules)))
        assert state() == before
        print(bakeoff.__all__)
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    seconds, heavy, names = done.stdout.splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"
    assert names == "['Search', 'UserError', 'data', 'open', 'run']"
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_users_in_the_way_is_named(tmp_path: Path) -> None:
    done = python("import bakeoff", shadows(tmp_path))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: bakeoff needs its own package 'data', but Python finds {tmp_path / 'data.py'}"
    )
    assert "rename" in last


@pytest.mark.slow
def test_searches_in_a_thread_under_a_loop_and_beside_a_ray_that_is_up(tmp_path: Path) -> None:
    """All in one process, in a folder where nothing of the user's may be taken for ours, here or in a worker."""
    code = f"""
        import asyncio, sys
        import bakeoff
        import optuna, ray, ray.tune  # which write into the environment when they are imported
        small = {{"architectures": ["mlp"], "epochs": 1, "trials": 1, "progress": False, "baselines": []}}
        before = state()

        async def two():
            first = asyncio.create_task(asyncio.to_thread(bakeoff.run, "smoke", **small))
            while not ray.is_initialized():
                await asyncio.sleep(0.05)
            try:
                bakeoff.run("smoke", **small)
            except bakeoff.UserError as error:
                print(error)
            return await first

        in_thread = asyncio.run(two())
        assert in_thread.outcome == "complete"
        assert not ray.is_initialized()
        assert state() == before

        ray.init("local", include_dashboard=False, log_to_driver=False)
        for address in (None, "192.0.2.1:6379"):
            try:
                bakeoff.run("smoke", address=address, **small)
            except bakeoff.UserError as error:
                print(error)
        ray.shutdown()

        env = {{"working_dir": "local://{ROOT}"}}
        ray.init("local", include_dashboard=False, log_to_driver=False, runtime_env=env)
        before = state()

        async def here():
            spec = {{"name": "mine", "corpus": "imdb", "limit": 200, "architectures": ["mlp"], "trials": 1}}
            return bakeoff.run(spec, epochs=1, baselines=[], progress=False)

        search = asyncio.run(here())
        assert search.outcome == "complete"
        assert ray.is_initialized()
        assert state() == before
        assert [each.id for each in map(bakeoff.open, ("latest", "smoke"))] == [search.id, in_thread.id]
        assert (search.spec.limit, search.spec.epochs) == (200, 1)
    """
    done = python(code, shadows(tmp_path), "-P")
    assert done.returncode == 0, done.stderr
    refused, line, another = done.stdout.splitlines()
    assert refused.startswith("another search runs in this process: ")
    assert line.startswith(f"the Ray that runs in this process cannot import data.encoded of {ROOT} in its workers: ")
    assert re.match(r"--address: this process has a Ray already, that of [\d.]+:\d+; got '192.0.2.1:6379': ", another)
    assert len(list((tmp_path / "searches").iterdir())) == 2


@pytest.mark.parametrize("first", ["import optuna; optuna.logging.set_verbosity(optuna.logging.DEBUG)", "pass"])
def test_optuna_says_afterwards_what_it_said_before(tmp_path: Path, first: str) -> None:
    code = f"""
        {first}
        from search.base import console
        with console.quiet():
            import search.study.study
            import optuna
            assert optuna.logging.get_verbosity() == optuna.logging.ERROR
        expected = optuna.logging.INFO if {first!r} == "pass" else optuna.logging.DEBUG
        assert optuna.logging.get_verbosity() == expected
        with console.quiet():
            assert optuna.logging.get_verbosity() == optuna.logging.ERROR
        assert optuna.logging.get_verbosity() == expected
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_signal_handlers_that_are_not_pythons_are_left_alone(tmp_path: Path) -> None:
    code = """
        import importlib.util, signal
        from importlib.machinery import BuiltinImporter
        from rich.console import Console
        from search.cluster import connection
        from search.run.signals import Signals
        found = BuiltinImporter.find_spec("_signal")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may ignore it
        # Python looks who handles what, as at its start.
        found.loader.exec_module(importlib.util.module_from_spec(found))
        assert signal.getsignal(signal.SIGINT) is None
        with connection._put_back(), Signals(Console()).taken():
            pass
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("in_a_file", [True, False])
def test_a_spec_is_checked_only_with_what_overrides_it(tmp_path: Path, in_a_file: bool) -> None:
    wrong = {"name": "mine", "architectures": ["mlp"], "epochs": 0, "metric": "val_cost"}
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(wrong), encoding="utf-8")
    made = api.spec_of(spec if in_a_file else wrong, {"epochs": 2, "metric": "val_loss", "corpus": "imdb"})
    assert (made.name, made.epochs, made.metric) == ("mine", 2, "val_loss")


@pytest.mark.parametrize("repeat", [0, 101, 2.0, "5"])
def test_a_search_is_repeated_a_few_times_or_not_at_all(repeat: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"repeat: a whole number from 1 to 100; got {repeat!r}")):
        api.run("smoke", repeat=repeat, searches=tmp_path)  # type: ignore[call-overload]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_repeated_search_is_a_list_that_ends_where_it_was_stopped(tmp_path: Path) -> None:
    code = """
        import bakeoff
        small = {"architectures": ["mlp"], "baselines": [], "epochs": 1, "trials": 1, "progress": False}
        print([(each.spec.seed, each.outcome) for each in bakeoff.run("smoke", repeat=2, seed=7, **small)])
        print([each.outcome for each in bakeoff.run("smoke", repeat=2, time_budget=0.1, **small)])
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[(7, 'complete'), (8, 'complete')]", "['interrupted']"]


def test_texts_are_one_or_several() -> None:
    assert api.list_of("a film") == ["a film"]
    assert api.list_of(("a", "b")) == ["a", "b"]
    for wrong, told in (([], "no text is given"), (["a", None], "got None")):
        with pytest.raises(UserError, match=told):
            api.list_of(wrong)


@pytest.mark.slow
def test_the_examples_in_the_docstrings(tmp_path: Path) -> None:
    code = """
        import doctest, bakeoff
        names, finder = {"bakeoff": bakeoff}, doctest.DocTestFinder(recurse=False)
        examples = finder.find(bakeoff, "bakeoff", module=False, globs=names)
        public = [bakeoff.run, bakeoff.open, bakeoff.data]
        public += [*(getattr(bakeoff.Search, name) for name in vars(bakeoff.Search))]
        for each in public:
            if callable(each) and not each.__name__.startswith("_") and each.__name__ != "recorded":
                found = finder.find(each, each.__name__, module=False, globs=names)
                assert found and found[0].examples, each
                examples += found
        runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
        for number, each in enumerate(examples):
            each.globs = names
            runner.run(each, clear_globs=False)
        assert runner.summarize().attempted > 15
        assert runner.summarize().failed == 0
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_what_is_pinned_is_within_what_an_installation_may_take() -> None:
    lines = (line.partition("#")[0] for line in ROOT.joinpath("requirements.txt").read_text("utf-8").splitlines())
    pinned = [Requirement(line) for line in lines if line.strip()]
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
    ranges = {each.name: each for each in map(Requirement, project["dependencies"])}
    assert {each.name for each in pinned} == set(ranges)
    for each in pinned:
        (pin,) = each.specifier
        assert pin.operator == "=="
        assert pin.version in ranges[each.name].specifier, each
        assert each.extras == ranges[each.name].extras


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_installed_it_runs_in_any_folder(tmp_path: Path) -> None:
    """In a fresh environment, which gets the dependencies of this one: to install torch again takes minutes."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    source = tmp_path / "source"  # setuptools builds in the folder that it is given
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, source], check=True, timeout=300)
    (packages,) = environment.glob("lib/python*/site-packages")
    packages.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    empty, users = tmp_path / "empty", tmp_path / "users"
    for folder in (empty, users):
        folder.mkdir()
    shadows(users)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"BAKEOFF_REPORT": "1"}
    for folder in (empty, users):
        done = subprocess.run(
            [environment / "bin" / "bakeoff", "run", "smoke"],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the best of each architecture and baseline by val_accuracy" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        (search,) = (folder / "searches").iterdir()
        assert (search / "report" / "index.html").is_file()
    for command in ("leaderboard", "explain latest:mlp wonderful", "list"):
        done = subprocess.run(
            [environment / "bin" / "bakeoff", *command.split()], cwd=users, env=variables, timeout=120, check=False
        )
        assert done.returncode == 0, command
    installed = subprocess.run(
        [environment / "bin" / "python", "-c", "import bakeoff; print(bakeoff.__file__)"],
        cwd=empty,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert Path(installed.stdout.strip()).is_relative_to(environment)
