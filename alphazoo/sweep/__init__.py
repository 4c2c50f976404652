"""Sweeps: many runs of one command, in one process, several, or on a cluster.

A sweeper (`hydra_plugins.alphazoo_sweepers`) says which jobs there are, a launcher of Hydra starts
them, each leaves its status in its folder (`jobs`), and a table is made of those (`table`). In a
search Optuna chooses the jobs: from a space (`space`), by what the database knows (`storage`),
trial by trial (`study`). A benchmark reads what is asked for (`combine`), plans jobs of which some
start from others (`plan`), and makes the published table of them (`benchmark`).
"""
