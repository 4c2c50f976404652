"""Sweeps: many runs from one command, in one process, in several, or on a cluster.

A sweeper (`hydra_plugins.alphazoo_sweepers`) defines the jobs and a Hydra launcher starts them.
Each job writes its status into its folder (`jobs`); a table collects the results (`table`).

In a search, Optuna chooses the settings of the trials (`study`) from a search space (`space`), and
stores the trials in a database (`storage`). A benchmark parses the requested combinations
(`combine`), plans jobs, some of which start from the model of another (`plan`), and writes a table
like the published one (`benchmark`).
"""
