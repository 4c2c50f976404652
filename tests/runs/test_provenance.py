"""What a run is made of: other data, another fingerprint; other settings, another digest."""

import subprocess
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMALL, read_frame, small_config
from markets import changing_concepts, market_frame

from alphazoo.cli import main
from alphazoo.market.fingerprint import concepts_digest
from alphazoo.market.market import Market
from alphazoo.runs.provenance import _packages, fingerprint, settings_digest
from alphazoo.runs.run import Run


def test_a_market_that_is_read_again_has_the_same_fingerprint(tmp_path: Path) -> None:
    markets = [read_frame("qlib", market_frame(), tmp_path / name) for name in ("a", "b")]
    assert fingerprint(markets[0]) == fingerprint(markets[1])


@pytest.mark.parametrize(
    "what",
    ["close", "members", "dates", "symbols", "indices", "days", "factor", "benchmark"],
)
def test_a_fingerprint_tells_markets_apart_that_differ_in_one_value(
    small_market: Market, what: str
) -> None:
    market = small_market
    stock = int(market.members[-1].nonzero()[0])
    symbol = market.symbols[stock]
    if what == "close":
        close = market.field("close").clone()
        close[-1, stock] += 1
        other = replace(market, fields={**market.fields, "close": close})
    elif what == "members":
        members = market.members.clone()
        members[0, 0] = ~members[0, 0]
        other = replace(market, members=members)
    elif what == "dates":
        other = replace(market, dates=market.dates + pd.Timedelta(days=1))
    elif what == "symbols":
        other = replace(
            market, symbols=tuple(f"{name}{'A' * (name == symbol)}" for name in market.symbols)
        )
    elif what in ("factor", "benchmark"):
        ones = torch.ones(market.members.shape if what == "factor" else len(market.dates))
        market, other = (replace(market, **{what: value * ones}) for value in (1, 2))
    elif what == "indices":
        other = replace(market, indices={})
    else:
        other = replace(
            market,
            dates=market.dates[:-1],
            fields={name: panel[:-1] for name, panel in market.fields.items()},
            members=market.members[:-1],
        )
    assert fingerprint(other) != fingerprint(market)


def test_other_concepts_have_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for concept in ("one", "two"):
        table = pd.DataFrame({"symbol": ["S00000", "S00001"], "concept": ["one", concept]})
        table.to_csv("concepts.csv", index=False)
        told = [*SMALL, "trainer.max_epochs=1", "data/concepts=table", "hydra.run.dir=out"]
        monkeypatch.setattr("sys.argv", ["alphazoo", "train", *told, "data.concepts=concepts.csv"])
        main()
        found.append(Run.open("out").provenance["data"])
    assert found[0]["concepts"] != found[1]["concepts"]
    assert found[0]["fingerprint"] == found[1]["fingerprint"]


@pytest.mark.parametrize("part", ["names", "stocks", "concepts", "first", "last", "weights"])
def test_a_digest_of_concepts_is_of_periods_and_weights(small_market: Market, part: str) -> None:
    known = changing_concepts(small_market, [])
    assert concepts_digest(known, small_market) == concepts_digest(
        changing_concepts(small_market, []), small_market
    )
    if part == "names":
        other = replace(known, names=("A", "C"))
    else:
        values = getattr(known, part).clone()
        values[0] += 1
        other = replace(known, **{part: values})
    assert concepts_digest(other, small_market) != concepts_digest(known, small_market)


def test_a_checkout_that_is_not_installed_names_the_packages_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("alphazoo.runs.provenance.requires", absent)
    assert {"torch", "pandas"} <= {*_packages()}


def test_the_digest_of_settings_follows_those_that_change_figures_alone() -> None:
    known = settings_digest(small_config())
    assert settings_digest(small_config("folder=elsewhere", "report=true")) == known
    assert settings_digest(small_config("seed=1")) != known
    assert settings_digest(small_config("model.lr=1e-5")) != known


def test_a_run_says_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["alphazoo", "train", *SMALL, "hydra.run.dir=out"])
    main()
    found = Run.open("out").provenance
    assert found["git"] is None
    assert found["packages"]["torch"].startswith("2.")
    assert found["machine"]["device"] == "cpu"
    assert (found["data"]["days"], found["data"]["stocks"]) == (130, 12)

    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "note").write_text("one")
    who = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
    subprocess.run(["git", "add", "note"], check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "-m", "first"], check=True)
    (tmp_path / "note").write_text("two")
    main()
    git = Run.open("out").provenance["git"]
    assert git["changed"]
    assert len(git["commit"]) == 40


def test_a_walk_forward_says_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = [*SMALL, "walk_forward=monthly", "trainer.max_epochs=1", "hydra.run.dir=out"]
    monkeypatch.setattr("sys.argv", ["alphazoo", "train", *told])
    main()
    run = Run.open("out")
    assert run.provenance["data"] == run.last_window.provenance["data"]
    assert run.provenance["settings"] == settings_digest(run.config)
    assert run.provenance["settings"] != run.last_window.provenance["settings"]
