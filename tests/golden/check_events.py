#!/usr/bin/env python3
"""Checks that TensorBoard reads a run's events, with the figures of its metrics.jsonl.

  rlaif run job.toml --out RUN
  check_events.py RUN

Reads RUN/tensorboard as TensorBoard does, by its own reader, and compares with RUN/metrics.jsonl: every number of
every step stands below its stage and nothing else does, each rounded to 32 bits. Needs: pip install tensorboard.
"""
import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def recorded(metrics):
    """The figures of metrics.jsonl by name and step, as 32 bits hold them."""
    figures = {}
    for line in metrics.read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                figures[f"{record['stage']}/{name}", record["step"]] = struct.unpack("f", struct.pack("f", value))[0]
    return figures


def read(folder):
    """The scalars of a folder of events by name and step."""
    # Without a bound it would keep a sample of long curves.
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    events.Reload()
    points = [(tag, point) for tag in events.Tags()[SCALARS] for point in events.Scalars(tag)]
    figures = {(tag, point.step): point.value for tag, point in points}
    assert len(figures) == len(points), "a figure stands there twice"
    return figures


def main(run):
    expected, found = recorded(run / "metrics.jsonl"), read(run / "tensorboard")
    assert expected, f"{run} has measured nothing"
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    for name, step in wrong[:10]:
        print(f"{name} at step {step}: recorded {expected.get((name, step))}, read {found.get((name, step))}")
    if wrong:
        sys.exit(f"{len(wrong)} figures differ")
    print(f"{len(found)} figures of {len({name for name, _ in found})} curves are those of metrics.jsonl")


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(pathlib.Path(sys.argv[1]))
