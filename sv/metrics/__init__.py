"""Measures of scores: EER, minDCF, actDCF and Cllr with intervals, breakdowns, results and their provenance."""
