"""A cluster of real processes on this machine: Redis, a coordinator, and workers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from rlaif_client import CallError, Client

REPOSITORY = Path(__file__).parents[3]
#: A llama with random weights: it judges and learns nothing of sense, but quickly.
TINY = REPOSITORY / "tests" / "golden" / "tiny-llama"
#: Longer than anything correct takes on a busy machine; only a failing test waits so long.
PATIENCE = 180.0

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, condition: Callable[[], T | None]) -> T:
    """What `condition` gives once it gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {PATIENCE} s")


def write_job(folder: Path, *, name: str = "tiny", pairs: int = 32, steps: int = 2) -> Path:
    """A job that goes through every stage but fine-tuning; its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, word in (("prompts.jsonl", "Tell me about"), ("heldout.jsonl", "What is")):
        (folder / file).write_text("".join(f'{{"prompt": "{word} {i}"}}\n' for i in range(16)))
    # Absolute names, so that another process that runs the same file has the same job.
    (folder / "job.toml").write_text(f"""\
name = "{name}"
seed = 3
chunk_size = 4
policy = {{ model = "{TINY}", chat = false }}
labeler = {{ model = "{TINY}", template = "sentiment/compare" }}
lora = {{ rank = 2 }}
data = {{ prompts = "{folder}/prompts.jsonl", heldout_prompts = "{folder}/heldout.jsonl" }}
sampling = {{ max_new_tokens = 8 }}
[reward_model]
pairs = {pairs}
epochs = 1
batch_size = 16
optimizer = {{ lr = 1e-3 }}
[rl]
reward = "model"
steps = {steps}
batch_size = 8
checkpoint_every = 2
reinforce = {{ policy = {{ lr = 1e-3 }}, value = {{ lr = 1e-3 }} }}
""")
    return folder / "job.toml"


class Process:
    """A process whose output goes to a file."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment}
            )

    def check(self) -> None:
        """Fail, with what it said, where it has ended."""
        if self._child.poll() is not None:
            raise AssertionError(f"{self.log.name} ended: {self.log.read_text()[-2000:]}")

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._child.send_signal(how)
        self._child.wait(timeout=60)


class Cluster:
    """Processes that belong together. Each test may start more; all end with it."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.port = free_port()
        self._processes: list[Process] = []
        redis_server = shutil.which("redis-server")
        assert redis_server, "these tests need redis-server, a package of most systems"
        redis = free_port()
        self._settings = {
            "RLAIF__QUEUE__URL": f"redis://127.0.0.1:{redis}",
            "RLAIF__ARTIFACTS__URL": str(folder / "jobs"),
            "RLAIF__METRICS__ADDRESS": "127.0.0.1:0",
        }
        self._start([redis_server, "--port", str(redis), "--save", "", "--dir", str(folder)], "redis", {})
        eventually("Redis", lambda: answers(redis))
        #: The newest, once one was started.
        self.coordinator: Process

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_coordinator(self, settings: Mapping[str, str] | None = None) -> Process:
        """A coordinator, once it listens."""
        own = {
            "RLAIF__SERVER__ADDRESS": f"127.0.0.1:{self.port}",
            "RLAIF__PAGE__ADDRESS": "127.0.0.1:0",
            "RLAIF__COORDINATOR__DATA_DIR": str(self.folder),
        }
        process = self._start([str(self.binary), "coordinator"], "coordinator", {**own, **(settings or {})})
        self._wait_for(process, self.port)
        self.coordinator = process
        return process

    def start_worker(self, kind: str, **direct: str) -> str:
        """A worker with settings of `direct`, once it listens; its address."""
        port = free_port()
        own = {f"RLAIF__DIRECT__{name.upper()}": value for name, value in direct.items()}
        own["RLAIF__SERVER__ADDRESS"] = f"127.0.0.1:{port}"
        process = self._start([str(self.binary), kind], f"{kind}-{port}", own)
        self._wait_for(process, port)
        return f"http://127.0.0.1:{port}"

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What a command of the program prints."""
        done = subprocess.run(
            [str(self.binary), *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        for process in self._processes:
            process.end()

    def _start(self, command: list[str], name: str, settings: Mapping[str, str]) -> Process:
        process = Process(command, self.folder / f"{name}.log", {**self._settings, **settings})
        self._processes.append(process)
        return process

    @staticmethod
    def _wait_for(process: Process, port: int) -> None:
        def listens() -> bool:
            process.check()
            return answers(port)

        eventually(f"{process.log.name} listens", listens)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def has_its_queue(client: Client) -> bool:
    """Whether a coordinator has begun to work."""
    try:
        list(client.jobs())
    except CallError:
        return False
    return True
