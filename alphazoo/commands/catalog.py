"""Every command with its arguments and examples: the one source of help, completion, errors, docs.

It imports nothing of this package, so that help and completion are instant. It is long because it
holds the help of every command.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

TRAIN = "train"  # the command takes any setting of alphazoo train
RUN = "run"  # the command takes changes to the config of a run
MONITORING = "monitoring"  # likewise, and the config group of that name

STATUS = {  # exit status -> meaning
    "0": "the command has done its work",
    "1": "an error, printed in one line; of a sweep or benchmark: at least one job has failed",
    "2": "`monitor` alone: at least one alarm",
    "130": "stopped by Ctrl+C (SIGINT); the last line says how to go on",
    "141": "the program that read the output ended first, such as `head`",
    "143": "stopped by SIGTERM; the last line says how to go on",
}
FLAGS = {  # of every command
    "-h, --help": "print this page",
    "-q, --quiet": "no progress and no messages: only warnings, errors and the result",
}
SETTINGS = {
    "": {},
    TRAIN: {
        "KEY=VALUE": "any setting of alphazoo train, such as data=qlib data.path=FOLDER",
        "--config-dir FOLDER": "a folder with your own yaml files and Python modules",
    },
    RUN: {
        "KEY=VALUE": "changes to the config of the run, such as data.path=FOLDER",
        "--config-dir FOLDER": "the folder of your own yaml files that the run was trained with",
        "trust=true": "open a run whose config could run any code",
    },
}
SETTINGS[MONITORING] = SETTINGS[RUN]
TRUST = {"trust=true": SETTINGS[RUN]["trust=true"]}
TRACKING = {"tracking_uri=URL": "MLflow's registry; by default MLFLOW_TRACKING_URI"}


class Command(NamedTuple):
    """A command.

    Attributes:
        does: What it does, in one line.
        function: Its function, ``module:name`` in this package.
        usage: Its arguments in short, after the name.
        own: Its own arguments with their meanings; ``name=a|b`` has two choices.
        examples: Command lines, without ``alphazoo NAME``.
        settings: What settings it takes, one of the keys of `SETTINGS`.
        notable: Some of these settings, with their meanings.
    """

    does: str
    function: str
    usage: str
    own: dict[str, str]
    examples: tuple[str, ...]
    settings: str = ""
    notable: Mapping[str, str] = MappingProxyType({})

    @property
    def arguments(self) -> dict[str, str]:
        """All arguments with their meanings."""
        return {**self.own, **self.notable, **SETTINGS[self.settings]}

    @property
    def keys(self) -> dict[str, str]:
        """The values that its own arguments expect, by name; ``NAME=...`` else is a setting."""
        pairs = (text.partition("=") for text in (*self.own, *SETTINGS[self.settings]))
        return {name: value for name, separator, value in pairs if separator and name != "KEY"}


COMMANDS = {
    "train": Command(
        "train a model, and score and report on the validation and test days",
        "training:train",
        "[-m] [run=FOLDER] [KEY=VALUE ...]",
        {
            "run=FOLDER": "resume the training run in a folder, or train it longer",
            **TRUST,
            "-m, --multirun": "run every combination of values with commas, one after the other",
            "--cfg job": "print the config and train nothing",
        },
        (
            "model=lstm data=qlib data.path=FOLDER trainer.max_epochs=5",
            "-m model=lstm,gru seed=1,2,3",
            "run=runs/mine trainer.max_epochs=20",
            "sweep=encoder model=lstm",
        ),
        TRAIN,
        {
            "hydra.run.dir=FOLDER": "folder of the run; by default a new one, runs/DATE/TIME",
            "hydra.sweep.dir=FOLDER": "folder of the runs of -m or a sweep, likewise",
        },
    ),
    "benchmark": Command(
        "train models on feature sets and seeds with published settings, and write one table",
        "training:benchmark",
        "[model=A,B] [features=A,B] [seed=0,1] [budget=0.05] [out=FOLDER] [KEY=VALUE ...]",
        {
            "budget=NUMBER": "fraction of the published epochs and patience; by default 1",
            "out=FOLDER": "folder of the runs and the table; by default a new one",
        },
        (
            "model=gru,lstm seed=0,1,2 data=qlib data.path=FOLDER out=runs/zoo",
            "budget=0.05",
        ),
        TRAIN,
        {
            "model=A,B": "the models; by default those of the published table",
            "features=A,B": "the feature sets; by default alpha360",
            "seed=0,1": "the seeds; by default 0 to 4",
        },
    ),
    "predict": Command(
        "score the newest day, or other days, with a finished run",
        "scoring:predict",
        "run=FOLDER [date=DAY | from=DAY to=DAY] [out=FILE] [append=FILE] [KEY=VALUE ...], "
        "or model_uri=models:/NAME/VERSION instead of run",
        {
            "run=FOLDER": "the run",
            "model_uri=URI": "a version in MLflow's registry: models:/NAME/3 or models:/NAME@ALIAS",
            **TRACKING,
            "date=DAY": "one day; by default the newest, which must be recent and complete",
            "from=DAY": "the first of several days",
            "to=DAY": "the last of several days",
            "out=FILE": "a table of date, symbol, score, .parquet or .csv; by default in the run",
            "append=FILE": "a file that collects the scores of all days, for daily use",
            "version=NAME": "name of the model in that file; by default that of the run's folder",
            "rewrite=true": "replace days of that file that have other scores",
            "precision=32-true|bf16-mixed": "precision of the computation",
        },
        (
            "run=runs/mine data.path=FOLDER",
            "run=runs/mine from=2020-07 to=2020-12 out=scores.csv",
            "run=runs/mine append=scores.parquet version=2026-11",
        ),
        RUN,
    ),
    "evaluate": Command(
        "write a report on the scores of any tool: analysis and backtest",
        "scoring:evaluate",
        "scores=FILE data=... [out=FOLDER] [KEY=VALUE ...]",
        {
            "scores=FILE": "a table with the columns date, symbol, score",
            "out=FOLDER": "folder of the report; by default a new one",
            "hydra.run.dir=FOLDER": "the same as out",
            "columns.date=NAME": "the table's own name of a column",
            "columns.symbol=NAME": "likewise",
            "columns.score=NAME": "likewise",
            "columns.return=NAME": "likewise, of returns to use instead of the market's",
            "columns.split=NAME": "likewise, of the segment: valid, test",
            "date_format=FORMAT": "format of its dates, such as %d/%m/%y",
            "timezone=ZONE": "time zone whose midnight its timestamps mean",
            "drop_unknown=true": "leave out rows whose date or symbol the market does not have",
        },
        (
            "scores=mine.parquet data=qlib data.path=FOLDER out=runs/judged",
            "scores=mine.csv columns.score=alpha data=table data.path=prices.parquet",
        ),
        TRAIN,
    ),
    "compare": Command(
        "compare runs in one table: mean and standard deviation over seeds",
        "scoring:compare",
        "RUN... [out=FOLDER]",
        {
            "RUN...": "folders of runs, or folders of several runs, such as a sweep",
            "out=FOLDER": "folder of the table and its page; by default a new one",
            "--config-dir FOLDER": SETTINGS[RUN]["--config-dir FOLDER"],
            **TRUST,
        },
        ("runs/a runs/b out=runs/side", "runs/zoo"),
    ),
    "ensemble": Command(
        "average the scores of several runs into a new run",
        "scoring:ensemble",
        "RUN RUN... [by=rank|zscore] [out=FOLDER]",
        {
            "RUN...": "folders of runs on the same data",
            "by=rank|zscore": "average the ranks of each day, the default, or the z-scores",
            "out=FOLDER": "folder of the new run; by default a new one",
            "--config-dir FOLDER": SETTINGS[RUN]["--config-dir FOLDER"],
            **TRUST,
        },
        ("runs/a runs/b runs/c out=runs/all", "runs/a runs/b by=zscore out=runs/all"),
    ),
    "explain": Command(
        "show what a trained model looks at: attention, concepts, neighbours, attributions",
        "explaining:explain",
        "run=FOLDER [date=DAY | from=DAY to=DAY] [what=A,B] [checks=true] [KEY=VALUE ...]",
        {
            "run=FOLDER": "the run",
            "date=DAY": "the only day; by default the last 60 test days",
            "from=DAY": "the first of several days",
            "to=DAY": "the last of several days",
            "what=A,B": "attention, concepts, neighbours, time, frequencies, weights, gate, "
            "factors, terms, predictors, market, sectors, attribution; by default all that "
            "the model can show",
            "symbols=A,B": "stocks whose scores are attributed to inputs; by default the two with "
            "the highest and the two with the lowest scores",
            "checks=true": "check how far the pictures can be trusted; takes minutes",
            "seeds=RUN,RUN": "runs that differ by their seed, for the checks",
            "out=FOLDER": "by default explanations/FIRST_LAST in the run",
        },
        (
            "run=runs/mine",
            "run=runs/mine what=sectors from=2020 to=2020 data.concepts=sectors.csv",
            "run=runs/mine date=2020-07-01 what=attribution symbols=SH600519,SZ000858",
            "run=runs/seed0 checks=true seeds=runs/seed1,runs/seed2",
        ),
        RUN,
    ),
    "export": Command(
        "write a finished run as a model that scores without torch",
        "serving:export",
        "run=FOLDER out=FOLDER [format=onnx|torch] [precision=float32|int8] [KEY=VALUE ...]",
        {
            "run=FOLDER": "the run",
            "out=FOLDER": "folder of the model",
            "format=onnx|torch": "ONNX, the default, or a program of torch.export",
            "precision=float32|int8": "int8 is smaller, not faster",
        },
        ("run=runs/mine out=models/mine", "run=runs/mine out=models/small precision=int8"),
        RUN,
    ),
    "monitor": Command(
        "check a model at work: inputs, scores, IC; exit status 2 is an alarm",
        "operations:monitor",
        "run=FOLDER scores=FILE [data.path=...] [out=FOLDER] [KEY=VALUE ...], "
        "or reference=true instead of scores",
        {
            "run=FOLDER": "the run at work",
            "scores=FILE": "the file to which predict append= writes",
            "out=FOLDER": "folder of the results; by default monitor/ in the run",
            "version=NAME": "version to monitor; by default that with the run's checkpoint",
            "today=DAY": "the day for the age of the scores; by default today",
            "since=DAY": "alarms since this day set the exit status, not only the newest",
            "accept=true": "accept old days whose features have changed as they are now",
            "reference=true": "make the reference of a run that has none",
        },
        (
            "run=runs/mine scores=scores.parquet data.path=FOLDER",
            "run=runs/mine scores=scores.parquet data.path=FOLDER monitoring.age=0",
        ),
        MONITORING,
        {"monitoring.NAME=VALUE": "limits, see configs/monitoring/daily.yaml"},
    ),
    "update": Command(
        "learn the days since, from the weights of a run, and compare with it",
        "operations:update",
        "run=FOLDER [until=DAY] [replay=1.0] [valid_days=20] [test_days=20] [KEY=VALUE ...]",
        {
            "run=FOLDER": "the parent",
            "until=DAY": "the last day to use; by default the newest",
            "replay=NUMBER": "share of the parent's days to learn again, the newest; by default 1",
            "valid_days=NUMBER": "days that stop the training; by default 20",
            "test_days=NUMBER": "newest days, to compare on; by default 20",
            "out=FOLDER": "folder of the child; by default FOLDER-until-DAY",
        },
        ("run=runs/mine data.path=FOLDER", "run=runs/mine replay=0.5 out=runs/child"),
        RUN,
    ),
    "versions": Command(
        "list the versions of a model in MLflow's registry",
        "operations:versions",
        "NAME [scores=FILE data.path=...] [tracking_uri=URL] [KEY=VALUE ...]",
        {
            "NAME": "name of the model",
            "scores=FILE": "the file to which predict append= writes; adds live IC and rank IC",
            **TRACKING,
            "KEY=VALUE": "with scores: changes to the config of the data, such as data.path=FOLDER",
            "--config-dir FOLDER": SETTINGS[RUN]["--config-dir FOLDER"],
            **TRUST,
        },
        (
            "csi300-gru tracking_uri=http://SERVER",
            "csi300-gru scores=scores.parquet data.path=FOLDER",
        ),
    ),
    "promote": Command(
        "make a version the champion, unless it is worse than the champion",
        "operations:promote",
        "NAME/VERSION [reason=TEXT] [force=true] [KEY=VALUE ...]",
        {
            "NAME/VERSION": "the version",
            "reason=TEXT": "recorded with the move",
            "force=true": "do not compare with the champion",
            "errors=NUMBER": "standard errors by which the version may be worse; by default 1",
            **TRACKING,
            "KEY=VALUE": "changes to the configs of both, such as data.path=FOLDER",
            "--config-dir FOLDER": SETTINGS[RUN]["--config-dir FOLDER"],
            **TRUST,
        },
        (
            'csi300-gru/4 reason="quarterly update" data.path=FOLDER',
            "csi300-gru/4 force=true",
        ),
    ),
    "rollback": Command(
        "make the champion before the last promotion the champion again",
        "operations:rollback",
        "NAME [reason=TEXT] [tracking_uri=URL]",
        {"NAME": "name of the model", "reason=TEXT": "recorded with the move", **TRACKING},
        ('csi300-gru reason="IC alarm"', "csi300-gru tracking_uri=http://SERVER"),
    ),
    "models": Command(
        "list the models with their papers and numbers of parameters, or describe some",
        "zoo:models",
        "[MODEL...]",
        {"MODEL...": "models to describe: equations, differences from the paper, settings"},
        ("", "gats hist"),
    ),
    "import-qlib": Command(
        "convert weights or scores that Qlib saved",
        "zoo:import_qlib",
        "FILE model=NAME out=CHECKPOINT [KEY=VALUE ...], or FILE out=x.parquet",
        {
            "FILE": "pickled weights of a network, or pickled scores",
            "out=FILE": "the checkpoint, .ckpt; or the table of scores, .parquet",
        },
        ("weights.pkl model=gats out=gats.ckpt", "pred.pkl out=scores.parquet"),
        TRAIN,
        {"model=NAME": "the model that has the weights"},
    ),
    "data check": Command(
        "summarise a data source and list possible problems",
        "data:check",
        "data=... [KEY=VALUE ...]",
        {},
        ("data=table data.path=prices.parquet", "data=qlib data.path=FOLDER"),
        TRAIN,
    ),
    "data audit": Command(
        "check for look-ahead: recompute features without later days and compare",
        "data:audit",
        "data=... features=... [KEY=VALUE ...]",
        {},
        (
            "data=qlib data.path=FOLDER features=alpha158",
            "--config-dir mine features=mine data=table data.path=prices.parquet",
        ),
        TRAIN,
    ),
    "data export": Command(
        "write unscaled features and the raw forward return as a table",
        "data:export",
        "data=... [from=DAY] [to=DAY] out=FILE [KEY=VALUE ...]",
        {
            "from=DAY": "the first day",
            "to=DAY": "the last day",
            "out=FILE": "the table, .parquet",
        },
        (
            "features=alpha158 from=2017 out=features.parquet",
            "data=qlib data.path=FOLDER out=features.parquet",
        ),
        TRAIN,
    ),
    "completion": Command(
        "print a script that lets a shell complete commands, groups, choices and keys",
        "completion:completion",
        "bash|zsh|fish",
        {"bash|zsh|fish": "the shell"},
        ("bash >> ~/.bashrc", "zsh >> ~/.zshrc", "fish > ~/.config/fish/completions/alphazoo.fish"),
    ),
}


def expected(name: str) -> str:
    """Return the end of an error message: what the arguments of a command should have been."""
    return f"expected: alphazoo {name} {COMMANDS[name].usage}"
