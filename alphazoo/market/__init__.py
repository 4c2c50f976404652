"""Reads prices, calendar and universe from files into dense panels."""
