"""What is told when a search has ended: the command of `--on-finish`."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import FinishedSearch, here
from test_faults import LONG, start, wait_for_epochs

from search.base.schema import Outcome


def resume(search: FinishedSearch, tmp_path: Path, on_finish: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Go on with a search that is done, which takes no Ray, from its own folder."""
    return here("bakeoff", "resume", search.id, "--no-report", "--on-finish", on_finish, *options, cwd=search.cwd)


def test_the_command_is_told_how_the_search_ended(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    done = resume(smoke_search, tmp_path, f"cat >> {told}")
    assert done.returncode == 0, done.stderr
    result = json.loads(told.read_text())  # once: two would be no JSON
    assert result["search"] == smoke_search.id
    assert result["status"] == "complete"
    assert result["trials_to_go"] == 0
    assert result["metric"] == "val_accuracy"
    assert 0 < result["score"] <= 1
    assert result["best"]["trial"].startswith(result["best"]["architecture"])
    assert result["best"]["hyperparameters"]["hidden_size"] in (8, 16)
    assert result["folder"] == str(smoke_search.folder)
    assert result["page"] is None  # --no-report
    assert result["gain"] is None  # no baselines
    assert result["tracking_uri"] == smoke_search.uri


def test_its_failure_is_a_line_and_changes_no_exit_status(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    done = resume(smoke_search, tmp_path, "exit 3")
    assert done.returncode == 0
    (line,) = (line for line in done.stderr.splitlines() if "--on-finish" in line)
    assert line == f"--on-finish: exit status 3; the search {smoke_search.id} is not affected"
    assert resume(smoke_search, tmp_path, "no-such-command-anywhere").returncode == 0
    assert resume(smoke_search, tmp_path, "true").returncode == 0  # reads nothing of what it is told


def test_no_password_is_told(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    from bakeoff import api, finishing

    found = api.Search(smoke_search.folder, "http://me:secret@127.0.0.1:9/?token=hidden")
    result = finishing.result(found, tmp_path / "index.html")
    assert result["tracking_uri"] == "http://me:***@127.0.0.1:9/?token=***"
    assert result["best"] is None  # nobody is there
    assert result["page"] == str(tmp_path / "index.html")
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("outcome", "status"), [(Outcome.COMPLETE, 130), (Outcome.INTERRUPTED, 1)])
def test_ctrl_c_in_the_results_still_shows_what_to_run_next(
    outcome: Outcome,
    status: int,
    smoke_search: FinishedSearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bakeoff import api, searching
    from search.run.run import SearchResult

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "_show_results", interrupted)
    num_owed = 0 if outcome is Outcome.COMPLETE else 2
    result = SearchResult(smoke_search.id, outcome, num_owed, recorded=True)
    found = api.Search(smoke_search.folder, smoke_search.uri, None, result)
    told = tmp_path / "told.json"
    with pytest.raises(SystemExit) as ended:
        searching._conclude(found, smoke_search.folder.parent, True, f"cat >> {told}")
    assert ended.value.code == status
    shown = capsys.readouterr()
    assert f"search resume {smoke_search.id}" in shown.out
    assert ("2 trials to go" if num_owed else "interrupted: ") in shown.err
    assert json.loads(told.read_text())["page"] is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_by_a_signal_is_told_once(number: int, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    process = start(tmp_path, *LONG, "--on-finish", f"cat >> {told}")
    wait_for_epochs(tmp_path, 3, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    result = json.loads(told.read_text())
    assert result["status"] == "interrupted"
    assert result["trials_to_go"] > 0
