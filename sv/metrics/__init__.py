"""What scores are worth: EER, minDCF, actDCF and Cllr with intervals, breakdowns, results and their provenance."""
