"""Writes the outcome of the monitors: a page, tables, and a file for Prometheus."""

import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, draw
from alphazoo.evaluation.figures import format_dates
from alphazoo.evaluation.report import Section, Table, write_page
from alphazoo.files import write_json, write_table, write_text
from alphazoo.serving.monitor.definitions import MONITORS
from alphazoo.serving.monitor.monitor import ALARM, Monitoring

PARQUET, PAGE, JSON, PROMETHEUS = "monitor.parquet", "monitor.html", "monitor.json", "alphazoo.prom"
DRAWN = (  # monitors whose course is drawn
    *("coverage", "feature_drift", "score_drift", "rank_stability", "ic", "portfolio"),
)
RELATIVE = ("feature_drift",)  # the worst column, and its limit, change
TITLES = {"ic": "IC (CUSUM)", "feature_drift": "Feature drift, relative to its limit"}
CAPTIONS = {f"monitor_{name}": MONITORS[name] for name in DRAWN}
LISTED = 40  # alarms that the page lists


def write_monitoring(folder: Path, found: Monitoring) -> list[Path]:
    """Write the files of the monitors into a folder; ``alphazoo.prom`` needs prometheus-client.

    Returns:
        The files.
    """
    write_table(found.table, folder / PARQUET)
    _write_page(folder / PAGE, found)
    files = [PARQUET, PAGE, JSON]
    if find_spec("prometheus_client") is not None:
        _write_metrics(folder / PROMETHEUS, found)
        files.append(PROMETHEUS)
    write_json(folder / JSON, found.summary)  # the last
    return [folder / name for name in files]


def _write_page(file: Path, found: Monitoring) -> None:
    summary, live = found.summary, found.live
    tiles = [
        {"label": label, "value": value, "definition": definition}
        for label, value, definition in (
            ("status", summary["status"], "alarm if any monitor is in alarm"),
            ("monitors in alarm", str(len(summary["alarms"])), "on the days that count"),
            ("newest scored day", summary["day"], "of this version"),
            ("scored days", f"{summary['scored_days']:,}", "of this version"),
        )
    ]
    details = {
        "run": summary["run"],
        "version": summary["version"],
        "market": live.market.name,
        "days": f"{live.dates[0]:%Y-%m-%d} to {live.dates[-1]:%Y-%m-%d}",
        "today": summary["today"],
        "alarms count since": summary["since"],
        **{f"monitoring.{name}": str(value) for name, value in vars(live.limits).items()},
    }
    sections = [
        Section("Monitors", tables=[_states(found)]),
        Section("Course", figures=_figures(found.table), captions=CAPTIONS),
        Section("Alarms", _note(found.table), tables=_alarms(found.table)),
        Section("Run and limits", tables=[Table([*details.items()])]),
    ]
    write_page(
        file,
        f"Monitoring of {summary['version']}",
        f"{summary['status']}: {', '.join(summary['alarms']) or 'no monitor in alarm'}; "
        f"newest scored day {summary['day']}, today {summary['today']}",
        sections,
        tiles=tiles,
        definitions=MONITORS,
        about="A value outside of its limits is an alarm; monitor.json holds the newest values.",
    )


def _states(found: Monitoring) -> Table:
    rows = [
        [
            name,
            state["status"],
            state["date"],
            *(_number(state[key]) for key in ("value", "low", "high")),
            str(state["alarms"]),
            str(state["alarm_days"]),
            state["detail"],
        ]
        for name, state in found.states.items()
    ]
    counts = ["alarms", "days in alarm"]
    columns = ["monitor", "status", "date", "value", "low", "high", *counts, "detail"]
    return Table(rows, columns, has_prose=True)


def _note(table: pd.DataFrame) -> list[str]:
    count = int(table["alarm"].sum())
    if not count:
        return ["No monitor was in alarm on any day."]
    return [f"The newest {LISTED} of {count:,} readings in alarm."] if count > LISTED else []


def _alarms(table: pd.DataFrame) -> list[Table]:
    alarms = table[table["alarm"]].sort_values("date", kind="stable")[::-1][:LISTED]
    rows = [
        [
            f"{row.date:%Y-%m-%d}",
            str(row.monitor),
            *(_number(x) for x in (row.value, row.low, row.high)),
            str(row.detail),
        ]
        for row in alarms.itertuples()
    ]
    columns = ["date", "monitor", "value", "low", "high", "detail"]
    return [Table(rows, columns, has_prose=True)] if rows else []


def _figures(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    for name in DRAWN:
        rows = table[table["monitor"] == name]
        title = TITLES.get(name, name.replace("_", " ").capitalize())
        if name in RELATIVE:
            rows = rows.assign(value=rows["value"] / rows["high"], high=1.0)
        if rows["value"].notna().sum() > 1:
            yield f"monitor_{name}", draw(_course, rows, title)


def _course(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    axes.set_title(title)
    axes.plot(rows["date"], rows["value"], color=FIRST, linewidth=0.9, label="value")
    limits = rows[["low", "high"]].where(np.isfinite).dropna(axis=1, how="all")
    lines = axes.plot(rows["date"], limits, color=INK, linewidth=0.8, linestyle="--")
    for line in lines[:1]:
        line.set_label("limit")
    alarms = rows[rows["alarm"]]
    if len(alarms):
        axes.plot(alarms["date"], alarms["value"], "o", ms=3, color=SECOND, label="alarm")
    format_dates(axes)


def _number(value: Any) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _write_metrics(file: Path, found: Monitoring) -> None:
    """Write gauges in the text format that node_exporter collects from files."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry, summary = CollectorRegistry(), found.summary
    labels = ("monitor", "version")
    gauges = {
        name: Gauge(f"alphazoo_monitor_{name}", text, labels, registry=registry)
        for name, text in (
            ("value", "Newest value of the monitor"),
            ("low", "Smallest value without an alarm"),
            ("high", "Largest value without an alarm"),
            ("alarm", "1 if the monitor is in alarm"),
        )
    }
    for monitor, state in summary["monitors"].items():
        values = {**state, "alarm": float(state["status"] == ALARM)}
        for name, gauge in gauges.items():
            gauge.labels(monitor, summary["version"]).set(values[name])
    day = Gauge(
        "alphazoo_monitor_scored_day_seconds", "Newest scored day", ("version",), registry=registry
    )
    day.labels(summary["version"]).set(pd.Timestamp(summary["day"]).timestamp())
    write_text(file, generate_latest(registry).decode())
