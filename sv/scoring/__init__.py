"""Scores of trials and what they are worth: cosine scoring and error rates."""

from sv.scoring.cosine import cosine_scores, enroll_models, read_embeddings, unit_vectors
from sv.scoring.metrics import Metrics, eer, evaluate, min_dcf

__all__ = ["Metrics", "cosine_scores", "eer", "enroll_models", "evaluate", "min_dcf", "read_embeddings", "unit_vectors"]
