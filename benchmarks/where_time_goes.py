"""The core-seconds by purpose, and the memory, of a search whose trials take ten seconds or more.

    python -m benchmarks.where_time_goes [--rounds 3] [--epochs 6] [--events | --default] [--out FILE.json] [--smoke]

Three views, all with a warm cache and on all cores. The first is of the smoke search, which consists mostly of start
and end; the others are of the search of benchmarks.fixed_work with more epochs:

- The events of the start and the end (`search run --timings`), and the core-seconds of each kind of process.
`--events`: only this view.
- The trials' own clocks (`rounds` searches; medians): the seconds in epochs, which are training and evaluation, of all
  core-seconds that there were while trials ran, and of all while the command ran. Memory is that of the same runs.
- py-spy (one search more) sees fifty times a second which Python files the driver and each worker compute in. Their
  core-seconds, as the system counts them, are divided in these proportions. The profiler's own are left out. It has to
  be allowed to look into other processes of this user: as root it is.

`--default`: instead, the clocks of the networks in a default search, and a section of its own.
"""

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import psutil

from analysis.base import baselines
from benchmarks import fixed_work, measure
from search.base.timings import Event

RATE = 50  # looks a second

#: Purposes by file or folder. A sample counts for its innermost frame that is in one of these.
OF_WORKER = {
    "/copy.py": "copies of the best weights",
    "/search/train/checkpoints.py": "checkpoints",
    "/search/train/running.py": "starting trials",
    "/search/train/": "training and evaluation",
    "/ray/tune/": "reporting",
}
OF_DRIVER = {
    "/search/study/": "Optuna, in the driver",
    "/search/track/": "MLflow, in the driver",
    "/analysis/": "the leaderboard and the page at the end",
    "/ray/tune/": "Tune and Ray, in the driver",
}
OTHERWISE = {measure.WORKER: "starting workers", measure.DRIVER: "starting and ending the command"}


def events(output: str) -> dict[str, float]:
    """The events in the output of a search with `--timings`: seconds since the start of the command."""
    said = re.findall(r"^ *(\d+\.\d+) s  (.+)$", output, re.MULTILINE)
    return {words: float(seconds) for seconds, words in said if words in list(Event)}


def smoke(folder: Path) -> dict[str, Any]:
    """Run a smoke search. Returns its events and its usage."""
    command = [sys.executable, "-m", "search", "run", "smoke", "--timings"]
    usage = measure.require_success(measure.run(command, folder), folder)
    output = (folder / "output.log").read_text(encoding="utf-8")
    return {"events": events(output), "core_seconds_of": usage.core_seconds_of, "wall_seconds": usage.wall_seconds}


def markdown_of_events(rounds: list[dict[str, Any]], cores: int) -> str:
    at = {event: median(each["events"][event] for each in rounds) for event in Event}
    roles = sorted({role for each in rounds for role in each["core_seconds_of"]})
    spent = {role: median(each["core_seconds_of"].get(role, 0.0) for each in rounds) for role in roles}
    total = median(sum(each["core_seconds_of"].values()) for each in rounds)
    rows = [
        [event, f"{seconds:.1f}", f"{seconds - before:.1f}"]
        for (event, seconds), before in zip(
            sorted(at.items(), key=lambda each: each[1]), [0.0, *sorted(at.values())], strict=False
        )
    ]
    return "\n".join(
        [
            f"The smoke search with a warm cache on {measure.processor()}, {cores} cores, medians of {len(rounds)}:",
            "events in seconds since the start of the command (`search run --timings`).",
            "",
            measure.table(["event", "s", "since the previous one"], rows),
            "",
            f"It took {total:.1f} core-seconds: "
            + ", ".join(
                f"{seconds:.1f} of {'all workers' if r == measure.WORKER else r}" for r, seconds in spent.items()
            )
            + f"; {total / cores:.1f} s at least, with all cores busy.",
        ]
    )


def running_seconds(trials: pd.DataFrame) -> float:
    """The seconds from the first trial's start to the last trial's end."""
    seconds: float = (trials["end"].max() - trials["start"].min()).total_seconds()
    return seconds


def default(folder: Path, smoke: bool) -> dict[str, Any]:
    """Run a default search. Returns the seconds of its networks, and those from the first one's start to the last
    one's end. Baselines are not counted: those that share a fit each have its seconds."""
    measure.require_success(measure.run(measure.our_search("smoke" if smoke else "default"), folder), folder)
    networks = baselines.searched(measure.our_trials(folder))
    return {"network_seconds": networks["seconds"].tolist(), "running_seconds": running_seconds(networks)}


def markdown_of_default(rounds: list[dict[str, Any]], cores: int) -> str:
    shares = [sum(each["network_seconds"]) / (cores * each["running_seconds"]) for each in rounds]
    num_networks, running = len(rounds[0]["network_seconds"]), median(each["running_seconds"] for each in rounds)
    return "\n".join(
        [
            f"`python -m benchmarks.where_time_goes --default --rounds {len(rounds)}` on {measure.processor()},",
            f"{cores} cores: {num_networks} networks were trained within {running:.0f} s. By their own clocks,",
            f"{median(shares):.1%} of the core-seconds of that time were inside training and evaluation.",
        ]
    )


@dataclass
class Profiler:
    """Finds the driver and the workers of the search in a folder as they start, and profiles each with py-spy.

    Workers are recognized by their process titles, which they get when they are ready: before that, Ray replaces the
    program of the process.
    """

    folder: Path
    seen: dict[psutil.Process, tuple[str, float, float]] = field(
        default_factory=dict
    )  # role, first and last core-seconds

    def attach(self) -> bool:
        """Profile new processes, and update the core-seconds of known ones. Returns False, since the search must not be
        stopped."""
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                role = measure.role_of(line, is_command=False)
                if role == measure.DRIVER or (role == measure.WORKER and line.startswith("ray::")):
                    times = process.cpu_times()
                    spent = times.user + times.system
                    if process not in self.seen:
                        self._watch(process.pid, role)
                    self.seen[process] = role, self.seen.get(process, (role, spent))[1], spent
        return False

    def _watch(self, pid: int, role: str) -> None:
        spy = [str(Path(sysconfig.get_path("scripts"), "py-spy")), "record", "--pid", str(pid)]
        how = ["--nonblocking", "--full-filenames", "--rate", str(RATE), "--duration", "3600", "--format", "raw"]
        out = ["--output", str(self.folder / f"{role}-{pid}.profile")]
        subprocess.Popen([*spy, *how, *out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def divide(self, core_seconds_of: dict[str, float]) -> dict[str, float]:
        """Core-seconds by purpose."""
        spent: dict[str, float] = defaultdict(float)
        for role, core_seconds in core_seconds_of.items():
            if role in OTHERWISE:
                watched = sum(last - first for of, first, last in self.seen.values() if of == role)
                samples = self._samples(role)
                spent[OTHERWISE[role]] += core_seconds - watched
                for purpose, number in samples.items():
                    spent[purpose] += watched * number / samples.total()
            elif role != measure.PROFILER:
                spent[role] += core_seconds
        return dict(spent)

    def _samples(self, role: str) -> Counter[str]:
        """The number of samples by purpose, from py-spy's lines: a stack, outermost frame first, and its number of
        samples."""
        samples: Counter[str] = Counter()
        for path in self.folder.glob(f"{role}-*.profile"):
            for line in path.read_text(encoding="utf-8").splitlines():
                stack, _, number = line.rpartition(" ")
                samples[_purpose(stack.split(";"), role)] += int(number)
        return samples


def search(folder: Path, seed: int, limit: int | None, epochs: int, profiler: Profiler | None = None) -> dict[str, Any]:
    """Run one search. Returns its usage, and the seconds measured by its trials."""
    fixed_work.write_spec(folder / "spec.yaml", seed, limit, epochs)
    command = measure.our_search("spec.yaml")
    usage = (
        measure.run(command, folder, memory=True)
        if profiler is None
        else measure.run(command, folder, until=profiler.attach)
    )
    measure.require_success(usage, folder)
    trials = measure.our_trials(folder)
    return {
        "wall_seconds": usage.wall_seconds,
        "core_seconds_of": usage.core_seconds_of,
        "memory_of": usage.memory_of,
        "trial_seconds": trials["seconds"].tolist(),
        "running_seconds": running_seconds(trials),
    }


def _purpose(frames: list[str], role: str) -> str:
    """The purpose of a stack from py-spy: frames "function (file:line)", outermost first.

    What a process imports belongs to its start, whichever library is being imported.
    """
    if any("<frozen importlib" in frame for frame in frames):
        return OTHERWISE[role]
    known = OF_WORKER if role == measure.WORKER else OF_DRIVER
    files = (frame.partition(" (")[2] for frame in reversed(frames))
    return next((known[part] for file in files for part in known if part in file), OTHERWISE[role])


def markdown(rounds: list[dict[str, Any]], profiled: dict[str, Any], cores: int) -> str:
    of_running = median(sum(each["trial_seconds"]) / (cores * each["running_seconds"]) for each in rounds)
    of_command = median(sum(each["trial_seconds"]) / (cores * each["wall_seconds"]) for each in rounds)
    trials = [seconds for each in rounds for seconds in each["trial_seconds"]]
    spent, there = profiled["spent"], cores * profiled["wall_seconds"]
    unused = there - sum(spent.values()) - profiled["core_seconds_of"].get(measure.PROFILER, 0.0)
    rows = [
        [purpose, f"{seconds:.1f}", f"{seconds / sum(spent.values()):.1%}", f"{seconds / there:.1%}"]
        for purpose, seconds in sorted(spent.items(), key=lambda each: -each[1])
    ]
    memory = {role: median(each["memory_of"].get(role, 0) for each in rounds) / 1e6 for role in rounds[0]["memory_of"]}
    return "\n".join(
        [
            f"`python -m benchmarks.where_time_goes` on {measure.processor()}, {cores} cores: trials of",
            f"{min(trials):.0f} to {max(trials):.0f} s, {len(trials) // len(rounds)} in a search. By their own clocks,",
            f"medians of {len(rounds)} searches, {of_running:.1%} of the core-seconds while trials ran were inside",
            f"training and evaluation, and {of_command:.1%} of those of the whole command.",
            "",
            "By py-spy, in one more search:",
            "",
            measure.table(
                ["purpose", "core-seconds", "share of used", "share of available"],
                [*rows, ["idle", f"{unused:.1f}", "", f"{unused / there:.1%}"]],
            ),
            "",
            "The largest sampled proportional set size (shared memory is divided among the processes that share it):",
            "",
            measure.table(
                ["", "MB"],
                [[f"a {role}" if role == measure.WORKER else role, f"{mb:,.0f}"] for role, mb in memory.items()],
            ),
        ]
    )


def main() -> None:
    parser = measure.options("where_time_goes", __doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="searches of each kind besides the profiled one (default 3)"
    )
    parser.add_argument("--epochs", type=int, default=6, help="epochs per trial (default 6)")
    parser.add_argument("--events", action="store_true", help="only the events of a smoke search")
    parser.add_argument("--default", action="store_true", help="only the clocks of a default search")
    chosen = parser.parse_args()
    if chosen.default:
        defaults = []
        for _ in range(chosen.rounds):
            with measure.scratch() as folder:
                defaults.append(default(folder, chosen.smoke))
            print(f"default search: {defaults[-1]['running_seconds']:.0f} s", flush=True)
        text = markdown_of_default(defaults, os.cpu_count() or 1)
        measure.keep("the default search", {"defaults": defaults}, text, chosen)
        return
    limit = fixed_work.SMOKE_TEXTS if chosen.smoke else None
    if chosen.smoke:
        chosen.rounds, chosen.epochs = 1, 2
    import data

    smokes = []
    for number in range(chosen.rounds):
        with measure.scratch() as folder:
            smokes.append(smoke(folder))
        print(f"smoke search {number}: {smokes[-1]['wall_seconds']:.0f} s", flush=True)
    of_events = markdown_of_events(smokes, os.cpu_count() or 1)
    if chosen.events:
        measure.keep("where the time goes", {"smokes": smokes}, of_events, chosen)
        return
    data.load("imdb", max_words=fixed_work.MAX_WORDS, limit=limit, progress=False)  # into the cache
    rounds = []
    for seed in range(chosen.rounds):
        with measure.scratch() as folder:
            rounds.append(search(folder, seed, limit, chosen.epochs))
        print(f"search {seed}: {rounds[-1]['wall_seconds']:.0f} s", flush=True)
    with measure.scratch() as folder:
        profiler = Profiler(folder)
        profiled = search(folder, 0, limit, chosen.epochs, profiler)
        profiled["spent"] = profiler.divide(profiled["core_seconds_of"])
    figures = {"smokes": smokes, "rounds": rounds, "profiled": profiled}
    text = f"{of_events}\n\n{markdown(rounds, profiled, os.cpu_count() or 1)}"
    measure.keep("where the time goes", figures, text, chosen)


if __name__ == "__main__":
    main()
