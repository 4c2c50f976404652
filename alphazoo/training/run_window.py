"""One window of a walk forward: trained and scored, or read if it is finished already."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.data.lineage import Lineage, read_lineage
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scores import locate_rows
from alphazoo.files import write_table
from alphazoo.market.market import Market
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.read import read_rows
from alphazoo.runs.run import read_provenance
from alphazoo.training.fit import fit, score_table
from alphazoo.training.resume import AFTER, changed_settings

ROWS = "rows.parquet"  # scores of a finished window, in its folder


@dataclass(frozen=True)
class Window:
    """One trained and scored window of a walk forward.

    Attributes:
        rows: Scores of the validation days, ``"valid"``, and of the test days, ``"test"``, see
            `alphazoo.models.base.StockModel.scores`.
        best: Checkpoint of the best epoch.
        data: Data of the window.
        lineage: Lineage of the model, see `alphazoo.data.lineage`.
    """

    rows: dict[str, pd.DataFrame]
    best: str | None
    data: MarketDataModule
    lineage: Lineage


def run_window(
    config: DictConfig, cut: dict[str, list[str]], market: Market, start: str | None
) -> Window:
    """Train and score a window, or read it if it is finished already.

    Args:
        config: Config of the walk forward.
        cut: First and last day of each segment of the window.
        market: The market.
        start: Checkpoint whose weights to start from; None for new weights.
    """
    settings = config.copy()
    settings.folder = str(Path(config.folder) / "windows" / cut["test"][0])
    settings.walk_forward = {}
    settings.data.update(cut)
    settings.data.test = [cut["test"][0], None]  # days after the window are not scored
    days = market.rows(*cut["test"])
    finished = _read_finished(settings, market, days)
    if finished is not None:
        return finished
    run = fit(settings, market=market, start=start)
    score_table(run.trainer, run.model, run.data, "valid", ckpt_path=run.best)
    run.data.predict_days(days)
    score_table(run.trainer, run.model, run.data, "predict", ckpt_path=run.best)
    rows = {"valid": run.model.scores("val"), "test": run.model.scores("predict")}
    rank_zero_only(_write_rows)(rows, market, Path(settings.folder) / ROWS)
    return Window(rows, run.best, run.data, run.model.lineage)


def _read_finished(settings: DictConfig, market: Market, days: range) -> Window | None:
    """Read a window with the same settings that has scored all its days and knew their returns."""
    folder = Path(settings.folder)
    file, best = folder / ROWS, folder / "checkpoints" / "best.ckpt"
    if not (file.is_file() and best.is_file()) or changed_settings(folder, settings, free=AFTER):
        return None
    table = read_rows(file, ["date", "symbol", "split"], ["score", "label", "return"])
    record = read_provenance(folder).get("data")
    if not record:
        return None
    data: MarketDataModule = instantiate(settings.datamodule, market=market)
    checkpoint = read_checkpoint(best)
    data.load_state_dict(checkpoint["MarketDataModule"])
    data.predict_days(days)
    rows = _read_rows(table, market)
    scored, wanted = rows["test"]["date"].unique(), data.segments["predict"]
    last_needed = min(wanted[-1] + data.label.reach, len(market.dates) - 1)
    known = pd.Timestamp(record["last"]) >= market.dates[last_needed]
    if not known or [*scored] != [*wanted]:
        return None
    return Window(rows, str(best), data, read_lineage(checkpoint))


def _write_rows(rows: Mapping[str, pd.DataFrame], market: Market, file: Path) -> None:
    """Write rows by date and symbol, because the columns of the market may change later."""
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
    """Convert a table of `_write_rows` to the rows and columns of the current market."""
    dates, stocks = locate_rows(table, market)
    placed = table.drop(columns="symbol").assign(date=dates)
    placed.insert(1, "stock", stocks)
    return {
        str(split): part.drop(columns="split").reset_index(drop=True)
        for split, part in placed.groupby("split")
    }
