"""A client of rlaif: jobs on a cluster, and its labeler, reward model and policy for direct callers.

Each service has a class of its own, since each has an address of its own:

    with Client() as client:
        job = client.submit("job.toml")
        for event in client.watch(job.job_id):
            print(event)

    with Labeler("http://127.0.0.1:7410") as labeler:
        answer = labeler.label("What is 2+2?", "4", "5", template="helpful/base")

Like the `rlaif` command, they read RLAIF_SERVER, RLAIF_TOKEN or RLAIF_TOKEN_FILE, and RLAIF_CA_FILE.
"""

from .client import Client
from .connection import CallPolicy
from .errors import (
    AnswerError,
    CallError,
    ConfigurationError,
    ErrorCode,
    JobFailedError,
    RlaifError,
    Violation,
)
from .jobs import (
    Cost,
    DeadLetter,
    Deleted,
    Event,
    Finished,
    Job,
    JobState,
    Metrics,
    Preference,
    ReportFormat,
    StageProgress,
    StateChanged,
    Submitted,
)
from .judgements import (
    Answered,
    Asking,
    Comparison,
    ComparisonAnswer,
    Identity,
    OrderScores,
    Rating,
    RatingAnswer,
    Rationale,
    Reasoning,
    Unscorable,
    UnscorableReason,
)
from .labeler import Labeler
from .policy import Completion, Finish, Policy, PolicyInfo
from .prompts import Item, Message, Pair, Prompt, TokenPrompt, TokenSequence
from .reward_model import Normalisation, RewardModel, RewardModelInfo, Score, ScoreAnswer

__all__ = [
    "AnswerError",
    "Answered",
    "Asking",
    "CallError",
    "CallPolicy",
    "Client",
    "Comparison",
    "ComparisonAnswer",
    "Completion",
    "ConfigurationError",
    "Cost",
    "DeadLetter",
    "Deleted",
    "ErrorCode",
    "Event",
    "Finish",
    "Finished",
    "Identity",
    "Item",
    "Job",
    "JobFailedError",
    "JobState",
    "Labeler",
    "Message",
    "Metrics",
    "Normalisation",
    "OrderScores",
    "Pair",
    "Policy",
    "PolicyInfo",
    "Preference",
    "Prompt",
    "Rating",
    "RatingAnswer",
    "Rationale",
    "Reasoning",
    "ReportFormat",
    "RewardModel",
    "RewardModelInfo",
    "RlaifError",
    "Score",
    "ScoreAnswer",
    "StageProgress",
    "StateChanged",
    "Submitted",
    "TokenPrompt",
    "TokenSequence",
    "Unscorable",
    "UnscorableReason",
    "Violation",
]
