"""Turns a market and its features into trading days: segments, labels, scaling and batches."""
