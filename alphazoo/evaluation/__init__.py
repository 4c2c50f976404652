"""Evaluation: what scores are worth, as metrics, tables, figures and a page."""
