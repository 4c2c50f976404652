"""The table of a sweep: settings, metrics and status of every job."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.errors import JobsFailedError, shorten
from alphazoo.files import write_table
from alphazoo.runs.run import read_metrics, read_provenance
from alphazoo.sweep.jobs import Job, is_done, read_job, read_jobs

PRINTED = ("val/ic", "test/ic", "test/icir", "test/rank_ic", "test/rank_icir")


def conclude(folder: Path, wanted: Collection[Path]) -> None:
    """Print the table of a sweep and write it as ``sweep.parquet``.

    Args:
        folder: Folder of the sweep; the table lists all its jobs.
        wanted: Folders of the jobs that must have results.

    Raises:
        JobsFailedError: Some of the wanted jobs have no results.
    """
    jobs = read_jobs(folder)
    table = tabulate(jobs)
    fingerprints = [read_provenance(path).get("data", {}).get("fingerprint") for path in jobs]
    table.insert([*table.columns].index("status"), "fingerprint", fingerprints)
    write_table(table, folder / "sweep.parquet")
    varied = [key for key in _keys(jobs) if len(set(table[key])) > 1]
    varied += ["fingerprint"] * (len({*fingerprints} - {None}) > 1)
    shown = table.reindex(columns=[*varied, *PRINTED, "status", "seconds", "folder"])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep="-"))
    print(f"sweep: {folder / 'sweep.parquet'}")
    check_ended(wanted)


def check_ended(wanted: Collection[Path]) -> None:
    """Raise a `JobsFailedError` with the folders of the wanted jobs that have no results."""
    failed = [
        f"{path} ({read_job(path).error or 'killed or not started'})"
        for path in wanted
        if not is_done(path)
    ]
    if failed:
        shown = shorten(failed, 3)
        raise JobsFailedError(f"{len(failed)} of {len(wanted)} jobs failed: {shown}")


def tabulate(jobs: dict[Path, Job]) -> pd.DataFrame:
    """Return one row per job: settings, metrics, ``status``, ``error``, ``seconds``, ``folder``."""
    rows: list[dict[str, Any]] = []
    for path, job in jobs.items():
        ended = is_done(path) and job.status == "done"
        metrics = read_metrics(path) if ended else {}
        outcome = {"status": job.status, "error": job.error, "seconds": job.seconds}
        rows.append(job.settings | metrics | outcome | {"folder": str(path)})
    table = pd.DataFrame(rows)
    for key in _keys(jobs):
        try:
            table[key] = pd.to_numeric(table[key])
        except ValueError:  # text
            table[key] = table[key].astype("str")
    return table


def _keys(jobs: dict[Path, Job]) -> list[str]:
    return [*dict.fromkeys(key for job in jobs.values() for key in job.settings)]
