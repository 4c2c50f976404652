"""Turns market data into trading days: sources, market, features, labels, scaling, days."""
