"""The table of a sweep: settings, figures and end of every job."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.errors import JobsFailedError, shorten
from alphazoo.files import write_table
from alphazoo.runs import read_facts, read_metrics
from alphazoo.sweep.jobs import Job, is_done, read_job, read_jobs

PRINTED = ("val/ic", "test/ic", "test/icir", "test/rank_ic", "test/rank_icir")


def conclude(folder: Path, wanted: Collection[Path]) -> None:
    """Print the table of a sweep and write it as ``sweep.parquet``.

    Args:
        folder: Of the sweep; the table has every job in it.
        wanted: Folders of the jobs that this call is about.

    Raises:
        JobsFailedError: Some of those have no result.
    """
    jobs = read_jobs(folder)
    table = tabulate(jobs)
    prints = [read_facts(path).get("data", {}).get("fingerprint") for path in jobs]
    table.insert([*table.columns].index("status"), "fingerprint", prints)
    write_table(table, folder / "sweep.parquet")
    telling = [key for key in _keys(jobs) if len(set(table[key])) > 1]
    telling += ["fingerprint"] * (len({*prints} - {None}) > 1)
    shown = table.reindex(columns=[*telling, *PRINTED, "status", "seconds", "folder"])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep="-"))
    print(f"sweep: {folder / 'sweep.parquet'}")
    check_ended(wanted)


def check_ended(wanted: Collection[Path]) -> None:
    """Raise a `JobsFailedError` that names those jobs, by their folders, that have no result."""
    failed = [
        f"{path} ({read_job(path).error or 'it was killed, or did not start'})"
        for path in wanted
        if not is_done(path)
    ]
    if failed:
        told = shorten(failed, 3)
        raise JobsFailedError(f"{len(failed)} of {len(wanted)} jobs failed: {told}")


def tabulate(jobs: dict[Path, Job]) -> pd.DataFrame:
    """Settings and figures of each job, and ``status``, ``error``, ``seconds``, ``folder``."""
    rows: list[dict[str, Any]] = []
    for path, job in jobs.items():
        ended = is_done(path) and job.status == "done"
        figures = read_metrics(path) if ended else {}
        facts = {"status": job.status, "error": job.error, "seconds": job.seconds}
        rows.append(job.settings | figures | facts | {"folder": str(path)})
    table = pd.DataFrame(rows)
    for key in _keys(jobs):
        try:
            table[key] = pd.to_numeric(table[key])
        except ValueError:  # words
            table[key] = table[key].astype("str")
    return table


def _keys(jobs: dict[Path, Job]) -> list[str]:
    return [*dict.fromkeys(key for job in jobs.values() for key in job.settings)]
