"""Ray nodes on this machine that have their own addresses: each in a network namespace of its own, on one bridge."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from conftest import ROOT
from moto.server import ThreadedMotoServer

from data.base.files import default_cache

#: What moto's S3 server takes: anything.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
BRIDGE, NETWORK = "bakeoff0", "10.213.77"
OBJECT_STORE = "--object-store-memory=100000000"


def sh(*words: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=check, capture_output=True, text=True, timeout=60, **options)


def can_have_namespaces() -> bool:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    if sh("ip", "netns", "add", "bakeoff-try", check=False).returncode:
        return False
    sh("ip", "netns", "del", "bakeoff-try")
    return True


@dataclass
class Machine:
    """A network namespace with an address; what runs in it is that machine's."""

    name: str
    address: str
    prelude: str | None = None  # of a shell: mounts that only this machine sees
    environment: dict[str, str] = field(default_factory=dict)
    sshd: subprocess.Popen[str] | None = None

    @property
    def link(self) -> str:
        """This machine's end of its cable."""
        return f"{self.name}-link"

    def words(self, *command: str) -> list[str]:
        if self.prelude is not None:
            command = ("unshare", "--mount", "sh", "-c", f'{self.prelude} && exec "$@"', "sh", *command)
        return ["ip", "netns", "exec", self.name, *command]

    def start_sshd(self, config: Path) -> None:
        """Let others log in; those who do see this machine's processes only: `ray stop` ends all that it sees."""
        own_processes = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        self.sshd = subprocess.Popen(
            self.words(*own_processes, str(shutil.which("sshd")), "-D", "-f", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(*command),
            cwd=cwd,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, cwd: Path | None = None, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, cwd=cwd)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(command, process.returncode, output, "")

    def pids(self) -> list[int]:
        return [int(pid) for pid in sh("ip", "netns", "pids", self.name).stdout.split()]

    def names(self) -> set[str]:
        """Of the programs that run on it."""
        found = set()
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(psutil.Process(pid).name())
        return found

    def kill(self) -> None:
        """As when a spot machine is taken back: everything on it is gone at once, and its address with it."""
        sh("ip", "-n", self.name, "link", "set", "eth0", "down", check=False)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def shut_down(self) -> None:
        """As when it is told two minutes before, and does what is usual: everything is asked to end."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(5)

    def end(self) -> None:
        self.kill()
        if self.sshd:
            self.sshd.wait(timeout=10)
        gone = [psutil.Process(pid) for pid in self.pids() if psutil.pid_exists(pid)]
        psutil.wait_procs(gone, timeout=10)
        sh("ip", "link", "del", self.link, check=False)  # the namespace goes later, with its last process
        sh("ip", "netns", "del", self.name, check=False)


class Cluster:
    """A Ray cluster of machines; the head is the first and has no cores for trials unless told."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.machines: list[Machine] = []
        token = temporary / "token"  # that every node shows every other
        token.write_text(uuid.uuid4().hex, encoding="utf-8")
        self.environment = {
            "HOME": str(temporary),
            "BAKEOFF_CACHE": str(default_cache()),
            "PYTHONPATH": str(ROOT),
            "VIRTUAL_ENV": "",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A machine that says nothing is lost after half a minute, not after more than one.
            "RAY_health_check_period_ms": "2000",
            "RAY_health_check_timeout_ms": "3000",
            **KEYS,
        }

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def address(self) -> str:
        return f"{self.head.address}:6379"

    def add_machine(self, prelude: str | None = None, **environment: str) -> Machine:
        number = len(self.machines) + 1
        machine = Machine(f"bakeoff-{number}", f"{NETWORK}.{number}", prelude, self.environment | environment)
        name = machine.name
        sh("ip", "netns", "add", name)
        self.machines.append(machine)
        sh("ip", "link", "add", machine.link, "type", "veth", "peer", "name", "eth0", "netns", name)
        sh("ip", "link", "set", machine.link, "master", BRIDGE, "up")
        sh("ip", "-n", name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
        sh("ip", "-n", name, "link", "set", "eth0", "up")
        sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", name, "route", "add", "default", "via", f"{NETWORK}.254")  # by it Ray finds the own address
        return machine

    def start_head(self, cpus: int = 0, *options: str, **environment: str) -> Machine:
        machine = self.add_machine(**environment)
        self._ray_start(
            machine,
            cpus,
            "--head",
            "--port=6379",
            f"--temp-dir={self.temporary}",
            "--include-dashboard=false",
            *options,
        )
        return machine

    def add_node(self, cpus: int = 1, prelude: str | None = None, **environment: str) -> Machine:
        machine = self.add_machine(prelude, **environment)
        self._ray_start(machine, cpus, f"--address={self.address}")
        return machine

    def _ray_start(self, machine: Machine, cpus: int, *options: str) -> None:
        done = machine.run(
            str(Path(sys.executable).with_name("ray")), "start", *options, f"--node-ip-address={machine.address}",
            f"--num-cpus={cpus}", OBJECT_STORE, "--disable-usage-stats",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@contextmanager
def cluster() -> Iterator[Cluster]:
    """An empty cluster; at the end nothing of it is left: processes, namespaces, bridge, files."""
    temporary = Path(tempfile.mkdtemp(prefix="bk", dir="/tmp"))  # Ray's sockets need a short path
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    made = Cluster(temporary)
    try:
        sh("ip", "addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        yield made
    finally:
        with contextlib.ExitStack() as ends:  # every one of them, whatever becomes of the others
            ends.callback(shutil.rmtree, temporary, ignore_errors=True)
            ends.callback(sh, "ip", "link", "del", BRIDGE, check=False)
            for machine in made.machines:
                ends.callback(machine.end)


@contextmanager
def object_store(address: str = "127.0.0.1") -> Iterator[str]:
    """A real S3 server with an empty bucket; the URI of a folder in it, as `storage_path` takes it."""
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        request = urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield f"s3://bucket/searches?{options}"
    finally:
        server.stop()


def wait_until(what: str, true, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {what} after {seconds:.0f} s")
        time.sleep(0.2)
