"""Scores of trials: cosine, score normalization, PLDA, calibration, fusion and thresholds."""
