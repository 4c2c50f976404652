"""Losses that models are trained by: one class per loss, each with a yaml in ``configs/loss``."""
