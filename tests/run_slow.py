"""Runs tests that take long, and those that fail once more, each alone: on a busy machine time may have run out.

    python tests/run_slow.py -m slow [other options of pytest]

The exit status is pytest's, and 0 too where all that failed passed on the second try; a line names each of them.
"""

import subprocess
import sys

import pytest


class Failures:
    """The ids of the tests that failed, in their order."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.ids:  # a test may fail, and its fixtures' end too
            self.ids.append(report.nodeid)


def main(options: list[str]) -> int:
    failures = Failures()
    status = pytest.main(options, plugins=[failures])
    if status != pytest.ExitCode.TESTS_FAILED:
        return status
    failed_twice = False
    verdicts = []
    for test in failures.ids:
        print(f"\nonce more, alone: {test}", flush=True)
        failed = subprocess.run([sys.executable, "-m", "pytest", *options, test]).returncode != 0
        verdicts.append(f"failed twice: {test}" if failed else f"flaky: {test} passed on the second try")
        failed_twice |= failed
    print(*verdicts, sep="\n")
    return int(failed_twice)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
