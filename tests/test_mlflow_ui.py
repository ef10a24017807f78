"""MLflow's own UI shows a search: a real server on its database, looked at in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import FinishedSearch
from playwright.sync_api import Browser, expect

from analysis.base import runs
from analysis.report import view
from search.base.mlflow_uri import UI_HOSTS

pytestmark = pytest.mark.slow
STARTED_AFTER, SHOWN_AFTER = 120, 60  # seconds, at most, on a busy machine


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server(smoke_search: FinishedSearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of MLflow's server on a copy of the search's database, which it may change."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(smoke_search.cwd / "mlflow.db", folder)
    address = f"http://127.0.0.1:{free_port()}"
    ui = ["ui", "--allowed-hosts", UI_HOSTS, "--port", address.rpartition(":")[2], "--workers", "1"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *ui, "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"],
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await_health(address, process, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def await_health(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTED_AFTER
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"MLflow's server did not start:\n{log.read_text()[-2000:]}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
        ({"Host": "127.0.0.1:{port}", "Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "10.example.com:{port}"}, 403),  # its owner's name server says that it is 127.0.0.1
        ({"Host": "192.168.1.2:{port}"}, 403),
        ({"Host": "127.0.0.1:{port}", "Origin": "http://evil.example"}, 403),
    ],
)
def test_the_ui_answers_its_own_host_and_origin_only(server: str, headers: dict[str, str], status: int) -> None:
    port = server.rpartition(":")[2]
    request = urllib.request.Request(
        f"{server}/ajax-api/2.0/mlflow/experiments/search",
        b'{"max_results": 1}',
        {"Content-Type": "application/json"} | {name: text.format(port=port) for name, text in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            got = answer.status
    except urllib.error.HTTPError as error:
        got = error.code
    assert got == status


def test_the_ui_shows_the_trial_its_parameters_and_its_curve(
    browser: Browser, server: str, smoke_search: FinishedSearch
) -> None:
    search = runs.find_search(server)
    trials = runs.read_trials(server, search.id)
    best = trials[trials["outcome"] == "complete"].iloc[0]
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    page.set_default_timeout(1000 * SHOWN_AFTER)
    expect.set_options(timeout=1000 * SHOWN_AFTER)
    link = view.Links(server, search, trials).run(best["run_id"])

    page.goto(link)  # where the report page links to, in a browser that has never seen MLflow
    expect(page.get_by_role("link", name="Model registry")).to_be_visible()  # the view for training
    expect(page.get_by_role("heading", name=best["trial"])).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_text("hidden_size", exact=True))
    expect(row).to_contain_text(str(best["hidden_size"]))

    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("^val_accuracy$")
    chart = page.locator(".js-plotly-plot").first
    expect(chart.locator("path.point").or_(chart.locator("path.js-line")).first).to_be_attached()
    points = chart.evaluate("chart => [...chart.data[0].y]")
    history = runs.read_series(server, [best["run_id"]], ["val_accuracy"])
    assert points == pytest.approx(history["value"].tolist())
    assert len(points) == best["epochs_run"]

    page.goto(view.Links(server, search, trials).experiment)
    expect(page.get_by_role("link", name=search.id)).to_be_visible()  # its trials are folded below it
    expect(page.get_by_role("link", name="Model registry")).to_be_visible()  # and not the views for language models
    page.close()


def test_a_server_gives_the_same_as_the_database(server: str, smoke_search: FinishedSearch) -> None:
    trials = runs.read_trials(smoke_search.uri, smoke_search.id)
    pd.testing.assert_frame_equal(runs.read_trials(server, smoke_search.id), trials)
    names = ["val_accuracy", "curve_loss"]
    series = runs.read_series(smoke_search.uri, trials["run_id"], names)
    pd.testing.assert_frame_equal(runs.read_series(server, trials["run_id"], names), series)
    assert set(series["metric"]) == set(names)
    assert runs.read_names(server, trials["run_id"]) == runs.read_names(smoke_search.uri, trials["run_id"])
