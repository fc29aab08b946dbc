"""What one does in a notebook: run a job, read its report, label two answers, score one.

It submits the quickstart job, or the job file that it is given, to the coordinator at RLAIF_SERVER. Labeling
and scoring ask RLAIF_LABELER and RLAIF_REWARD, and are left out where those are not set.
"""

import os
import sys
from pathlib import Path

from rlaif_client import Client, Comparison, Labeler, RewardModel, Score, StageProgress

quickstart = Path(__file__).parents[3] / "services" / "rlaif" / "quickstart" / "job.toml"
job_file = sys.argv[1] if len(sys.argv) > 1 else quickstart

# %% Submit the job and watch it. To run this again is to watch the same job.
with Client() as client:
    job_id = client.submit(job_file).job_id
    for event in client.watch(job_id):
        if isinstance(event, StageProgress):
            print(f"\r{event!s:<79}", end="", flush=True)
    job = client.wait(job_id)

    # %% Print its report, and the first pair that a labeler judged, where the job has any.
    print("\n" + client.report(job_id).decode())
    for pair in client.export(job_id):
        print(pair.record())
        break

# %% Label two answers. What cannot be judged has a reason instead of a number.
if "RLAIF_LABELER" in os.environ:
    with Labeler() as labeler:
        answer = labeler.label(
            "Write one short sentence about the sea.",
            "The sea is calm and beautiful today.",
            "The sea is cold and I hate it.",
            template="sentiment/compare",
        )
        match answer.result:
            case Comparison(probability_a=p):
                print(f"{answer.model.name} prefers the first with probability {p:.3f}")
            case unscorable:
                print(f"not judged: {unscorable.reason}, {unscorable.detail}")

# %% Score one with the reward model that a job has trained.
if "RLAIF_REWARD" in os.environ:
    with RewardModel() as reward_model:
        scored = reward_model.score("Write one short sentence about the sea.", "The sea is calm today.")
        match scored.result:
            case Score(reward=reward):
                print(f"version {scored.model_version} of the reward model gives {reward:.3f}")
            case unscorable:
                print(f"not scored: {unscorable.reason}, {unscorable.detail}")
