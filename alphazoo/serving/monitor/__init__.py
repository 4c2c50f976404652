"""Monitoring of a model at work: inputs, scores and results, compared with its own past."""
