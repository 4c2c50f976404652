"""Computes features, the model's input for each stock, from the panels of a market."""
