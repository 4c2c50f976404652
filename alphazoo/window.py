"""One window of a walk forward: trained and scored, or taken from an earlier process."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.files import read_checkpoint, write_table
from alphazoo.fit import fit, score_table
from alphazoo.lineage import Lineage, read_lineage
from alphazoo.resume import AFTER, changes
from alphazoo.runs import read_facts
from alphazoo.scores import locate

ROWS = "rows.parquet"  # in the folder of a window: its scores, when it has ended


@dataclass(frozen=True)
class Window:
    """One training of a walk forward.

    Attributes:
        rows: Scores of its valid and test days, see `alphazoo.models.base.StockModel.scores`.
        best: The checkpoint of its best epoch.
        data: Its days.
        lineage: Of its model, see `alphazoo.lineage`.
    """

    rows: dict[str, pd.DataFrame]
    best: str | None
    data: MarketDataModule
    lineage: Lineage


def run_window(
    config: DictConfig, cut: dict[str, list[str]], market: Market, start: str | None
) -> Window:
    """Train and score a stretch, or take what an earlier process has finished of it."""
    told = config.copy()
    told.folder = str(Path(config.folder) / "windows" / cut["test"][0])
    told.walk_forward = {}
    told.data.update(cut)
    told.data.test = [cut["test"][0], None]  # of the later days none is looked at
    days = market.rows(*cut["test"])
    finished = _finished(told, market, days)
    if finished is not None:
        return finished
    run = fit(told, market=market, start=start)
    score_table(run.trainer, run.model, run.data, "valid", ckpt_path=run.best)
    run.data.predict_days(days)
    score_table(run.trainer, run.model, run.data, "predict", ckpt_path=run.best)
    rows = {"valid": run.model.scores("val"), "test": run.model.scores("predict")}
    rank_zero_only(_write_rows)(rows, market, Path(told.folder) / ROWS)
    return Window(rows, run.best, run.data, run.model.lineage)


def _finished(told: DictConfig, market: Market, days: range) -> Window | None:
    """A stretch that was trained and scored on all its days, whose returns are as they were."""
    folder = Path(told.folder)
    file, best = folder / ROWS, folder / "checkpoints" / "best.ckpt"
    if not (file.is_file() and best.is_file()) or changes(folder, told, free=AFTER):
        return None
    table, record = pd.read_parquet(file), read_facts(folder).get("data")
    if (
        not record or "symbol" not in table
    ):  # of an earlier version, by columns of the market of then
        return None
    data: MarketDataModule = instantiate(told.datamodule, market=market)
    checkpoint = read_checkpoint(best)
    data.load_state_dict(checkpoint["MarketDataModule"])
    data.predict_days(days)
    rows = _read_rows(table, market)
    scored, asked = rows["test"]["date"].unique(), data.segments["predict"]
    reach = min(asked[-1] + data.label.sell, len(market.dates) - 1)
    known = pd.Timestamp(record["last"]) >= market.dates[reach]
    if not known or [*scored] != [*asked]:
        return None
    return Window(rows, str(best), data, read_lineage(checkpoint))


def _write_rows(rows: Mapping[str, pd.DataFrame], market: Market, file: Path) -> None:
    """Write rows by date and symbol: the market may have other columns when they are read."""
    named = [
        table.drop(columns="stock").assign(
            date=market.dates[table["date"]],
            symbol=pd.Index(market.symbols)[table["stock"]],
            split=split,
        )
        for split, table in rows.items()
    ]
    write_table(pd.concat(named, ignore_index=True), file)


def _read_rows(table: pd.DataFrame, market: Market) -> dict[str, pd.DataFrame]:
    """What `_write_rows` wrote, by rows and columns of the market of now."""
    dates, stocks = locate(table, market)
    placed = table.drop(columns="symbol").assign(date=dates)
    placed.insert(1, "stock", stocks)
    return {
        str(split): part.drop(columns="split").reset_index(drop=True)
        for split, part in placed.groupby("split")
    }
