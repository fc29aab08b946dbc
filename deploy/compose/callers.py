"""Direct callers at a steady rate, for deploy/compose/rolling: they ask every service until told to stop.

Of each service two callers repeat a call as the Python client does by default; a third, the plain one,
makes one attempt. One more follows the jobs. What they met is printed when SIGTERM comes, in a
table of the time before SIGUSR1 and one of that after.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rlaif_client import CallPolicy, Client, Finished, Labeler, Policy, RewardModel, RlaifError

#: Calls of one caller in a second.
RATE = 5.0
PLAIN = CallPolicy(timeout=120.0, patience=0.0)
STOP = threading.Event()


@dataclass
class Met:
    """What callers of one kind have met."""

    #: When a call was answered, and how long it took.
    answers: list[tuple[float, float]] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, ask: Callable[[], object]) -> None:
        """Ask once."""
        started = time.monotonic()
        try:
            ask()
        except RlaifError as error:
            with self.lock:
                self.errors.append((time.monotonic(), str(error)))
        else:
            now = time.monotonic()
            with self.lock:
                self.answers.append((now, now - started))

    def between(self, start: float, end: float) -> Met:
        """The part of it."""
        answers = [answer for answer in sorted(self.answers) if start <= answer[0] < end]
        return Met(answers, [error for error in self.errors if start <= error[0] < end])

    def row(self) -> str:
        """Calls, errors, the median and longest call, and the longest time without an answer to anybody."""
        seconds = [took for _, took in self.answers] or [0.0]
        times = [at for at, _ in self.answers]
        gap = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
        calls = len(self.answers) + len(self.errors)
        median = statistics.median(seconds) * 1000
        return f"{calls:>6} {len(self.errors):>7} {median:>6.0f} ms {max(seconds):>7.2f} s {gap:>6.2f} s"


def keep_asking(ask: Callable[[], object], met: Met) -> None:
    """Ask at `RATE`; after an answer that took longer, at once."""
    due = time.monotonic()
    while not STOP.is_set():
        met.call(ask)
        due = max(due + 1 / RATE, time.monotonic())
        STOP.wait(due - time.monotonic())


def asking(service: str, policy: CallPolicy | None, job_id: str) -> Callable[[], object]:
    """A question to a service, over a connection of its own; without a policy it is asked as by default."""
    if service == "coordinator":
        client = Client(policy=policy)
        return lambda: client.job(job_id)
    if service == "labeler":
        labeler = Labeler(policy=policy)
        return lambda: labeler.label(
            "Say something.", "A fine day.", "A grim day.", template="sentiment/compare"
        )
    if service == "reward":
        reward_model = RewardModel(policy=policy)
        return lambda: reward_model.score("Say something.", "A fine day.")
    drawing = Policy(policy=policy)
    return lambda: drawing.generate("Say something.", max_new_tokens=4, temperature=1.0, seed=1)


def follow(said: dict[str, str]) -> None:
    """Watch every job from its first event to its last."""
    ended: set[str] = set()
    events = 0
    try:
        with Client() as client:
            while not STOP.is_set():
                for job in client.jobs():
                    if job.job_id in ended:
                        continue
                    for event in client.watch(job.job_id):
                        events += 1
                        if isinstance(event, Finished):
                            ended.add(job.job_id)
                STOP.wait(1)
            said["watch"] = f"{len(ended)} jobs to their ends, {events} events"
    except RlaifError as error:
        said["watch"] = f"ERROR after {events} events: {error}"


def print_table(title: str, met: dict[tuple[str, str], Met]) -> None:
    """Print a row for the callers of each kind, and below it the commonest errors that they have seen."""
    print(f"{title}\n{'service':<12} {'caller':<10}  calls  errors    median   longest      gap")
    for (service, kind), of in met.items():
        print(f"{service:<12} {kind:<10} {of.row()}")
        for error, times in Counter(error.split(";")[0][:160] for _, error in of.errors).most_common(3):
            print(f"    {times} x {error}")


def main(job_id: str) -> None:
    """Ask until SIGTERM; exit with 1 where a caller that repeats its calls has seen an error."""
    times = [time.monotonic()]
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    signal.signal(signal.SIGUSR1, lambda *_: times.append(time.monotonic()))
    services = ("coordinator", "labeler", "reward", "rollout")
    met = {(service, kind): Met() for service in services for kind in ("repeating", "plain")}
    said = {"watch": "not ended"}
    threads = [threading.Thread(target=follow, args=(said,), daemon=True)]
    for service in services:
        for kind, policy, count in (("repeating", None, 2), ("plain", PLAIN, 1)):
            for _ in range(count):
                arguments = (asking(service, policy, job_id), met[service, kind])
                threads.append(threading.Thread(target=keep_asking, args=arguments))
    for thread in threads:
        thread.start()
    print("callers are at work", flush=True)
    STOP.wait()
    for thread in threads[1:]:
        thread.join()
    threads[0].join(timeout=30)

    times.append(time.monotonic())
    for title, (start, end) in zip(
        ("one container after the other", "all of a service at once"), itertools.pairwise(times), strict=False
    ):
        print_table(title, {who: of.between(start, end) for who, of in met.items()})
    print(f"watch: {said['watch']}", flush=True)
    failed = any(of.errors for (_, kind), of in met.items() if kind == "repeating")
    silent = any(not of.answers for of in met.values())
    sys.exit(1 if failed or silent or "jobs to their ends" not in said["watch"] else 0)


if __name__ == "__main__":
    main(os.environ["JOB"])
