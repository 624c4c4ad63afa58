"""Training, evaluation and use of recommenders. Needs the extra `train`."""

from __future__ import annotations

from rlmrec_fast.training.evaluation import Evaluator, evaluate
from rlmrec_fast.training.inference import Recommendation, TrainedRun
from rlmrec_fast.training.model import create_model
from rlmrec_fast.training.run import RunConfig, RunFolder
from rlmrec_fast.training.settings import Settings
from rlmrec_fast.training.trainer import DivergenceError, Trainer, TrainingResult

__all__ = [
    "DivergenceError",
    "Evaluator",
    "Recommendation",
    "RunConfig",
    "RunFolder",
    "Settings",
    "TrainedRun",
    "Trainer",
    "TrainingResult",
    "create_model",
    "evaluate",
]
