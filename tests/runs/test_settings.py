"""Settings are checked before anything is read: types, bounds, and the one line that says so."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Lt
from conftest import EXPERIMENTS, MODELS, SMALL, Alphazoo
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from alphazoo.bounds import describe, fits
from alphazoo.config import compose, config_dir
from alphazoo.errors import InputError
from alphazoo.runs.settings import check_settings, hints_of
from alphazoo.training.fit import check_instantiable

TABLE = ("data=table", "data.path=prices.csv")
QLIB = ("data=qlib", "data.path=folder")


@cache
def _base(*choices: str) -> DictConfig:
    return compose(*choices)


def config_of(text: str) -> DictConfig:
    """Groups are composed once for all cases; keys are set in a copy."""
    given = text.split(" ")
    chosen = [g for g in given if (config_dir() / g.partition("=")[0]).is_dir()]
    if "data=table" in chosen or "data=qlib" in chosen:
        chosen.append("data.path=x")
    config = _base(*chosen).copy()
    parser = OverridesParser.create()
    for override in parser.parse_overrides([g for g in given if g not in chosen]):
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    return config


REFUSED = {
    # keys of the run
    "seed=-1": "seed=-1: expected a whole number (at least 0, at most 4294967295)",
    "seed=abc": "seed=abc: expected a whole number",
    "seed=true": "seed=true: expected a whole number",
    "seed='7'": "seed='7': expected a whole number",
    "seed=1e30": "seed=1e+30: expected a whole number",
    "seed=[1,2]": "seed=[1, 2]: expected a whole number",
    "seed=null": "seed=null: expected a whole number",
    "patience=x": "patience=x: expected a whole number (at least 0)",
    "patience=nan": "patience=nan: expected a whole number",
    "days_per_step=0": "days_per_step=0: expected a whole number (at least 1)",
    "report=maybe": "report=maybe: expected true or false",
    "report=1": "report=1: expected true or false",
    "allow_leak=banana": "allow_leak=banana: expected true or false",
    "allow_leak=no": "allow_leak=no: expected true or false",
    "allow_leak=off": "allow_leak=off: expected true or false",
    "allow_leak=none": "allow_leak=none: expected true or false",
    "allow_leak=null": "allow_leak=null: expected true or false",
    "ckpt=7": "ckpt=7: no such file; expected last, a checkpoint or null",
    "init_from=7": "init_from=7: no such file; expected a checkpoint or null",
    "ckpt=true": "ckpt=true: expected text or null",
    "mode=min": "mode=min: expected max for monitor=val/ic",
    "mode=max monitor=val/loss": "mode=max: expected min for monitor=val/loss",
    "mode=up": "mode=up: expected min or max",
    "monitor=5": "unknown monitor '5'; available: train/loss, val/ic",
    # nodes
    "trainer.max_epochs=2.5": "trainer.max_epochs=2.5: expected -1, a whole number (at least 1) or",
    "trainer.max_epochs=0": "trainer.max_epochs=0: expected -1, a whole number (at least 1) or nul",
    "trainer.num_nodes=0": "trainer.num_nodes=0: expected a whole number (at least 1)",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: expected a whole numb",
    "trainer.precision=99": "trainer.precision=99: expected 64, 32, 16, transformer-engine",
    "trainer.devices=x": "trainer.devices=x: expected auto, a whole number, a list or text such as",
    "trainer.devices=[0,x]": "trainer.devices[1]=x: expected a whole number",
    "trainer.gradient_clip_val=inf": "trainer.gradient_clip_val=inf: expected a number (at least 0",
    "+trainer.foo=3": "trainer.foo=3: no such setting; available: accelerator",
    "model.hidden_size=-1": "model.hidden_size=-1: expected a whole number (at least 1)",
    "model.hidden_size=64.0": "model.hidden_size=64.0: expected a whole number",
    "model.lr=nan": "model.lr=nan: expected a number (at least 0)",
    "model.lr=inf": "model.lr=inf: expected a number (at least 0)",
    "model.lr='1e-3'": "model.lr='1e-3': expected a number (at least 0)",
    "model.lr=${oc.env:PATH}": "model.lr=${oc.env:PATH}: expected a number (at least 0)",
    "patience=${seed}.5": "patience='0.5' (${seed}.5): expected a whole number",
    "label=null": "label=null: expected its settings",
    "optimizer._partial_=no": "optimizer._partial_=no: expected true or false",
    "+model._convert_=foo": "model._convert_=foo: expected none, partial, object or all",
    "features.columns=[]": "model.n_features=0 (${len:${features.columns}}): expected a whole numb",
    "model.dropout=1": "model.dropout=1: expected a number (at least 0, below 1)",
    "model.weight_decay=-1": "model.weight_decay=-1: expected a number (at least 0)",
    "+model.layers=3": "model.layers=3: no such setting; did you mean 'num_layers'?",
    "model=gats model.heads=0": "model.heads=0: expected a whole number (at least 1)",
    "model=gats model.heads=3": "heads must divide hidden_size, got 3 and 64",
    "model=gats model.cell=grru": "unknown model.cell 'grru'; did you mean 'gru'?",
    "optimizer=sgd optimizer.momentum=x": "optimizer.momentum=x: expected a number",
    "optimizer=sgd optimizer.momentum=-1": "cannot make the optimizer: Invalid momentum value: -1",
    "+optimizer.betas=[0.9,x]": "optimizer.betas[1]=x: expected a number",
    "features.window=0": "features.window must be at least 1 day, got 0",
    "features.window=1.5": "features.window=1.5: expected a whole number",
    "features.columns=close": "features.columns=close: expected a list",
    "features.columns=5": "features.columns=5: expected a list",
    "features=alpha158 features.functions=[5]": "features.functions[0]=5: expected a function",
    "scaler.clip=nan": "scaler.clip=nan: expected a number (inf included)",
    "label.sell=1.5": "label.sell=1.5: expected a whole number",
    "label.buy=0": "need 1 <= label.buy < label.sell, got 0 and 2",
    "label.scale=foo": "unknown label.scale 'foo'; available: rank, raw, zscore",
    "label.neutral=no": "label.neutral=no: expected true or false",
    # keys of the data, whichever node they feed
    "data.embargo=x": "data.embargo=x: expected a whole number",
    "data.embargo=-9": "data.embargo must be at least 0 days, got -9",
    "data.min_stocks=0": "data.min_stocks must be at least 1, got 0",
    "data.train=5": "data.train=5: expected [from, to]",
    "data.train=[1,2,3]": "data.train must be [from, to], got [1, 2, 3]",
    "data.valid=[2016,someday]": "data.valid: 'someday' is not a date: expected YYYY-MM-DD",
    "data.test=[2018,2017]": "data.test=[2018, 2017] ends before it starts",
    "data.n_days=1.5": "data.n_days=1.5: expected a whole number",
    "data.seed=-1": "data.seed=-1: expected a whole number (at least 0)",
    "data.reversal=nan": "data.reversal=nan: expected a number",
    "data.n_days=9": "data.n_days=9: expected a whole number (at least 10, at most 50000)",
    "data.n_stocks=0": "data.n_stocks=0: expected a whole number (at least 1)",
    "data.indices=MARKET": "data.indices=MARKET: expected a list",
    "data.indices=[true]": "data.indices[0]=true: expected text",
    "data=table data.bad_prices=keep": "data.bad_prices=keep: expected missing or refuse",
    "data=table data.path=null": "data.path=null: expected text",
    "data=table data.path=[a,b]": "data.path=['a', 'b']: expected text",
    "data=table data.columns.volume=[a]": "data.columns.volume=['a']: expected text or null",
    "data=table data.columns=close": "data.columns=close: expected a mapping or null",
    "data=table data.date_format=foo": "data.date_format=foo: expected a format of strptime such a",
    "data=table data.date_format=5": "data.date_format=5: expected a format of strptime such as %d",
    "data=table data.timezone=Foo/Bar": "data.timezone=Foo/Bar: expected a time zone such as Asia/",
    "data=table data.timezone=8": "data.timezone=8: expected a time zone such as Asia/Shanghai or",
    "data=table data.benchmark=1e5": "data.benchmark=100000.0: expected text or null; text that lo",
    "data=table data.extra=close": "data.extra=close: expected a list",
    "data=table data.indices=[null]": "data.indices[0]=null: expected text",
    "data/concepts=correlation data.concepts.min_days=0": "data.concepts.min_days=0: expected a wh",
    # optional groups; those of the backtest without a report, too
    "backtest.strategy.topk=2.5 report=false": "backtest.strategy.topk=2.5: expected a whole numbe",
    "backtest.strategy.topk=0 report=false": "need 0 <= strategy.n_drop <= strategy.topk, at least",
    "backtest.strategy.hold_thresh=-1": "backtest.strategy.hold_thresh=-1: expected a whole number",
    "backtest.periods=-5": "backtest.periods=-5: expected a whole number (at least 1)",
    "backtest.account=0": "backtest.account=0: expected a number (above 0)",
    "backtest.benchmark=cashh": "backtest.benchmark=cashh: expected index, universe, cash or null",
    "backtest.exchange.buy_cost=5": "exchange.buy_cost must be a fraction of at least 0 and below",
    "backtest.exchange.limit=foo": "backtest.exchange.limit=foo: expected a number, a_shares or nu",
    "backtest.exchange.limit=2": "exchange.limit must be above 0 and below 1",
    "backtest.split=foo": "backtest.split=foo: expected valid, test, predict or null",
    "backtest.strategy.only_tradable=no": "backtest.strategy.only_tradable=no: expected true or fa",
    "averaging=swa averaging.start=2": "averaging.start must be at least 0 and below 1, got 2",
    "averaging=last_k averaging.k=1.5": "averaging.k=1.5: expected a whole number",
    "walk_forward=yearly walk_forward.months=x": "walk_forward.months=x: expected a whole number (",
    "walk_forward=yearly walk_forward.months=0": "walk_forward.months=0: expected a whole number (",
    "walk_forward=yearly walk_forward.rolling=1": "walk_forward.rolling=1: expected true or false",
    "walk_forward=yearly +walk_forward.month=1": "walk_forward.month=1: no such setting; did you m",
    "scheduler=cosine scheduler.interval=5": "scheduler.interval=5: expected epoch or step",
    "scheduler=step scheduler.scheduler.step_size=0": "step_size=0: expected a whole number (at le",
    "scheduler=cosine trainer.max_epochs=-1": "trainer.max_epochs=-1: expected a whole number (at",
    "scheduler=step scheduler.scheduler.step_size=x": "scheduler.scheduler.step_size=x: expected a",
    "+logger.mine=3": "logger.mine=3: expected a node with a _target_",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text: str) -> None:
    config = config_of(text)
    with pytest.raises(InputError) as caught:  # noqa: PT012
        check_settings(config)
        check_instantiable(config)
    said = str(caught.value)
    assert REFUSED[text] in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ckpt=7", "ckpt"),
        ("init_from=20", "init_from"),
        ("data=table data.path=20260101", "data.path"),
        ("data=qlib data.universe=300", "data.universe"),
        ("data=table data.benchmark=399300", "data.benchmark"),
        ("data=table data.columns.volume=7", "data.columns.volume"),
        ("data=table data.indices=[300]", "data.indices[0]"),
        ("data=table data.concepts=7", "data.concepts"),
    ],
)
def test_a_number_where_text_is_expected_becomes_text(text: str, key: str) -> None:
    config = config_of(text)
    check_settings(config)
    assert OmegaConf.select(config, key) == text.rpartition("=")[2].strip("[]")
    if key == "data.path":
        assert config.datamodule.market.table == "20260101"  # where it is repeated


@pytest.mark.parametrize(
    "text",
    [
        "model.lr=1",
        "scaler.clip=inf",
        "trainer.devices=auto",
        "trainer.devices=-1",
        "trainer.devices=[0,1]",
        "trainer.devices='0,1'",
        "+optimizer.betas=[0.9,0.99]",
        "+trainer.limit_train_batches=0.5",
        "trainer.max_epochs=-1",
        "monitor=val/loss",
        "data.test=[2017,null]",
        "+note=anything",
    ],
)
def test_what_is_allowed(text: str) -> None:
    check_settings(config_of(text))


def _choices(group: str) -> list[str]:
    return sorted(file.stem for file in (config_dir() / group).glob("*.yaml"))


SHIPPED = [
    *([f"model={name}"] for name in MODELS),
    *(
        [f"{group}={name}"]
        for group in (
            *("features", "scaler", "optimizer", "scheduler", "averaging", "walk_forward"),
            *("trainer", "logger", "backtest", "backtest/strategy", "backtest/exchange"),
        )
        for name in _choices(group)
        if name != "base"
    ),
    *([f"data/concepts={name}"] for name in _choices("data/concepts") if name != "table"),
    ["data/concepts=table", "data.concepts.table=sectors.csv"],
    *([f"sweep={name}"] for name in _choices("sweep")),
    ["logger=[csv,mlflow,tensorboard,wandb]"],
]


@pytest.mark.parametrize("overrides", SHIPPED, ids=" ".join)
def test_what_is_shipped_passes(overrides: list[str]) -> None:
    config = compose(*overrides)
    before = config.copy()
    check_settings(config)
    assert config == before


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_pass_on_every_source(experiment: str) -> None:
    config = compose(f"experiment={experiment}")
    check_settings(config)
    for source in (TABLE, QLIB):
        config.data = _base(*source).data
        check_settings(config)


def _targets() -> set[str]:
    texts = [file.read_text() for file in config_dir().rglob("*.yaml")]
    return {name for text in texts for name in re.findall(r"_target_: (alphazoo[\w.]+)", text)}


@pytest.mark.parametrize("target", sorted(_targets()))
def test_our_own_signatures_have_types(target: str) -> None:
    """Else their settings would not be checked."""
    parameters, hints = hints_of(get_object(target))
    named = {n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert named <= hints.keys()


# targets of users


class Untyped:
    def __init__(self, width, other=None):
        self.width = width


class Odd:
    def __init__(self, a: "Missing", b: Any = 1, c: 3 = 3) -> None:  # noqa: F821
        pass


class Sloppy:
    def __init__(
        self,
        width: int = None,  # noqa: RUF013
        folder: Path | None = None,
        sizes: tuple[int, ...] = (),
    ) -> None:
        pass


class Proxy(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError


class Broken(metaclass=Proxy):
    pass


def of_broken(value: Broken) -> None:
    pass


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": f"{__name__}.Untyped", "width": [float("nan")]},
        {"_target_": f"{__name__}.Odd", "a": 1, "b": {}, "c": "x"},
        {"_target_": f"{__name__}.Sloppy", "width": None, "folder": "here", "sizes": [1, 2]},
        {"_target_": f"{__name__}.of_broken", "value": 1},
        {"_target_": "builtins.dict", "a": 1},
        {"_target_": "builtins.range", "a": 1},
        {"_target_": "nowhere.to_be_found", "a": 1},
        {"_target_": 5, "a": 1},
    ],
)
def test_targets_of_users_are_checked_as_far_as_they_say(node: dict[str, Any]) -> None:
    config = _base().copy()
    OmegaConf.update(config, "mine", node, force_add=True)
    check_settings(config)


def test_a_type_that_is_not_known_leaves_the_others() -> None:
    _, hints = hints_of(Odd)
    assert hints["b"] is Any
    assert "a" not in hints


def test_arguments_of_users_are_checked() -> None:
    config = _base().copy()
    node = {"_target_": f"{__name__}.Sloppy", "sizes": [1, "x"]}
    OmegaConf.update(config, "mine", node, force_add=True)
    with pytest.raises(InputError, match=r"mine.sizes\[1\]=x: expected a whole number"):
        check_settings(config)


# types


@pytest.mark.parametrize(
    ("hint", "good", "bad", "words"),
    [
        (int, [3, -1], [3.0, True, "3", None], "a whole number"),
        (float, [3, 0.5], [True, "3", float("nan"), float("inf")], "a number"),
        (bool, [True], [1, "true", "no"], "true or false"),
        (int | None, [None, 1], ["null"], "a whole number or null"),
        (Annotated[int | None, Ge(0)], [None, 0], [-1], "a whole number (at least 0) or null"),
        (Annotated[float, Ge(0), Lt(1)], [0, 0.5], [1.0], "a number (at least 0, below 1)"),
        (Literal["a", "b"] | bool, ["a", False], ["c", 1], "a, b or true or false"),
        (str | Path, ["x"], [5, None], "text"),
        (Path, ["x"], [5], "text"),
        (list[int] | None, [None], ["12", 3], "a list or null"),
        (dict[str, int], [], ["a", 1], "a mapping"),
    ],
)
def test_types_and_their_words(hint: Any, good: list[Any], bad: list[Any], words: str) -> None:
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)
    assert describe(hint) == words


# the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=abc"], "seed=abc: expected a whole number"),
        (["label.scale=foo"], "unknown label.scale 'foo'"),
        (["model=null"], "model=null: expected a choice of the group model: add, alstm, dtml"),
        (["optimizer=null"], "optimizer=null: expected a choice of the group optimizer: adam"),
        (["logger=foo"], "unknown logger 'foo'; available: csv"),
        (
            ["walk_forward=3"],
            "walk_forward=3: expected a choice of the group walk_forward: monthly",
        ),
        (["seed=${nothing}"], "seed: Interpolation key 'nothing' not found"),
        (["trainer.strategy=foo"], "trainer: You selected an invalid strategy name"),
        (["model._target_=foo.Bar"], "model: Error loading 'foo.Bar'"),
        (["sweep=encoder", "seed=x"], "seed=x: expected a whole number"),
        (
            ["sweep=encoder", "hydra.sweeper.n_trials=0"],
            "hydra.sweeper.n_trials=0: expected a whole",
        ),
        (
            ["sweep=encoder", "hydra.sweeper.sampler.seed=x"],
            "hydra.sweeper.sampler.seed=x: expected",
        ),
        (["sweep=encoder", "model.dropout=choice(0,2)"], "model.dropout=2: expected a number (at"),
        (
            ["sweep=encoder", "model.dropout=interval(0,2)"],
            "model.dropout=2.0: expected a number (at",
        ),
        (["sweep=benchmark", "seed=99999999999"], "seed=99999999999: expected a whole number"),
        (["sweep=benchmark", "hydra.sweeper.based=5"], "hydra.sweeper.based=5: expected a list"),
        (["backtest=foo", "report=false"], "unknown backtest 'foo'; available: a_shares"),
        (["-m", "seed=1,x"], "seed=x: expected a whole number"),
        (["sweep=benchmark", "model=gru", "model.dropout=2"], "model.dropout=2: expected a number"),
    ],
)
def test_a_refused_command_leaves_no_file(
    alphazoo: Alphazoo, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = alphazoo("train", *arguments, *SMALL)
    assert isinstance(result.code, str)
    assert result.code.startswith(f"error: {message}")
    assert "\n" not in result.code
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "check", "seed=abc"], "seed=abc: expected a whole number"),
        (["data", "audit", "label.neutral=no"], "label.neutral=no: expected true or false"),
        (["data", "export", "out=x.parquet", "data.embargo=x"], "data.embargo=x: expected a whole"),
        (["evaluate", "scores=x", "backtest.periods=-5"], "backtest.periods=-5: expected a whole"),
        (["evaluate", "scores=x", "drop_unknown=yes"], "drop_unknown=yes: expected true or false"),
        (["evaluate", "scores=x"], "no file x"),
    ],
)
def test_other_commands_refuse_settings_too(
    alphazoo: Alphazoo, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = alphazoo(*arguments)
    assert str(result.code).startswith(f"error: {message}")
    assert not [*tmp_path.iterdir()]


def test_a_refused_run_keeps_the_results_before_it(alphazoo: Alphazoo, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("{}")
    result = alphazoo("train", *SMALL, "patience=x", "hydra.run.dir=out")
    assert "patience=x" in str(result.code)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["metrics.json"]


def test_data_of_users_need_no_backtest(alphazoo: Alphazoo, tmp_path: Path) -> None:
    """To Hydra the group is optional: data=mine without backtest/mine.yaml is no error."""
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "mine.yaml").write_text("defaults: [synthetic]\n")
    result = alphazoo("data", "check", "--config-dir=mine", "data=mine", *SMALL)
    assert result.code == 0
    result = alphazoo("data", "check", "--config-dir=mine", "data=mine", "backtest=foo", *SMALL)
    assert "unknown backtest 'foo'" in str(result.code)
