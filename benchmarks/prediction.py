"""The speed and size of exported models: texts per second, latency of a request, megabytes.

    python -m benchmarks.prediction [--out FILE.json] [--rounds 5] [--smoke]

A search trains each architecture's default configuration on the embedded corpus. Each model is exported, loaded from
the registry, and predicts the test texts as in `python -m analysis predict`. The architectures take turns; results are
medians over rounds. A real `mlflow models serve` answers sequential requests of one text each.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import mlflow
import pandas as pd

import data
from benchmarks import measure
from search.base import console, mlflow_uri
from search.serve import export
from search.spec.read import read_spec

NUM_REQUESTS = 500


def main() -> None:
    parser = measure.options("prediction", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="predictions of all texts by each model")
    chosen = parser.parse_args()
    console.quiet_libraries()
    texts = [text for text, _ in data.read_examples("imdb", "test", limit=800 if chosen.smoke else None)]
    with measure.scratch() as folder:
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        size = {"limit": 800} if chosen.smoke else {}
        command = [*measure.our_search("default", trials=1, epochs=1, **size), "--tracking-uri", uri]
        measure.require_success(measure.run(command, folder), folder)
        search = next((folder / "searches").iterdir()).name
        architectures = read_spec(folder / "searches" / search).architectures
        exported = {name: export.export(search, folder / "searches", uri, name) for name in architectures}
        with mlflow_uri.mlflow_at(uri):
            models = {name: mlflow.pyfunc.load_model(each.uri) for name, each in exported.items()}
        seconds = predict_in_turns(models, texts, chosen.rounds)
        rows: list[dict[str, Any]] = []
        for name, each in exported.items():
            with serving(each.uri, uri, folder) as address:
                latencies = request(address, texts[: 20 if chosen.smoke else NUM_REQUESTS])
            rows.append(
                {
                    "architecture": name,
                    "texts_per_second": len(texts) / median(seconds[name]),
                    "latency_median_ms": 1000 * median(latencies),
                    "latency_p95_ms": 1000 * quantiles(latencies, n=20)[-1],
                    "megabytes": each.num_bytes / 1e6,
                }
            )
    heads = ["architecture", "texts per second", "latency, median (ms)", "latency, 95th percentile (ms)", "size (MB)"]
    cells = [
        [
            row["architecture"],
            f"{row['texts_per_second']:,.0f}",
            *(f"{row[key]:.1f}" for key in ("latency_median_ms", "latency_p95_ms", "megabytes")),
        ]
        for row in rows
    ]
    about = (
        f"`python -m benchmarks.prediction` on {measure.processor()}, {os.cpu_count()} cores: the default\n"
        f"configuration of each architecture, exported; {len(texts):,} test texts in one call, single texts by HTTP."
    )
    measure.keep("prediction", {"rows": rows}, f"{about}\n\n{measure.table(heads, cells)}", chosen)


def predict_in_turns(models: dict[str, Any], texts: list[str], num_rounds: int) -> dict[str, list[float]]:
    """The seconds for predicting all texts, by model and round."""
    frame = pd.DataFrame({"text": texts})
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(num_rounds):
        for name, model in models.items():
            started = time.perf_counter()
            model.predict(frame)
            seconds[name].append(time.perf_counter() - started)
    return seconds


@contextmanager
def serving(model: str, uri: str, folder: Path) -> Iterator[str]:
    """The address of an `mlflow models serve` of a registered model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = Path(sys.executable).parent
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = [programs / "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def request(address: str, texts: list[str]) -> list[float]:
    """The seconds from request to answer for each text, without the first requests, which warm the server up."""
    seconds = []
    for text in [*texts[:10], *texts]:
        body = json.dumps({"inputs": {"text": [text]}}).encode()
        started = time.perf_counter()
        with urllib.request.urlopen(
            urllib.request.Request(address, body, {"Content-Type": "application/json"}), timeout=60
        ) as answer:
            answer.read()
        seconds.append(time.perf_counter() - started)
    return seconds[10:]


if __name__ == "__main__":
    main()
