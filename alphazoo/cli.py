"""The command ``alphazoo``: finds what is asked for, and says a fault in one line."""

import os
import sys
from collections.abc import Callable

from alphazoo.commands import data, scoring, training, zoo
from alphazoo.errors import AlphazooError, did_you_mean

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": training.train,
    "predict": scoring.predict,
    "benchmark": training.benchmark,
    "evaluate": scoring.evaluate,
    "compare": scoring.compare,
    "ensemble": scoring.ensemble,
    "models": zoo.models,
    "import-qlib": zoo.import_qlib,
    "data check": data.check,
    "data audit": data.audit,
    "data export": data.export,
}

HELP = """\
usage: alphazoo COMMAND [KEY=VALUE ...]

  train        train a model and score its valid and test days
               alphazoo train model=lstm data=qlib data.path=FOLDER trainer.max_epochs=5
               alphazoo train -m model=lstm,gru seed=1,2,3     every combination
               alphazoo train run=FOLDER [trainer.max_epochs=20]    go on with one that was stopped
               alphazoo train sweep=encoder model=lstm         a search by Optuna
               alphazoo train --help                            all groups and keys
  benchmark    models x feature sets x seeds on published settings, into the published table
               alphazoo benchmark model=gru,lstm seed=0,1,2 data=qlib data.path=FOLDER out=OUT
               alphazoo benchmark budget=0.05    the whole zoo, a twentieth of the epochs
  predict      scores of the newest day by a finished run
               alphazoo predict run=runs/mine data.path=FOLDER
               alphazoo predict run=runs/mine from=2020-07 to=2020-12 out=scores.csv
               alphazoo predict model_uri=models:/NAME/3 [tracking_uri=URL]    of MLflow's registry
  evaluate     a report on the scores of any tool: a table of date, symbol, score
               alphazoo evaluate scores=mine.parquet data=qlib data.path=FOLDER out=OUT
  compare      runs side by side, mean and deviation over seeds
               alphazoo compare runs/a runs/b out=OUT
  ensemble     the mean of the scores of several runs, as a run of its own
               alphazoo ensemble runs/a runs/b by=rank out=OUT
  models       the zoo: each model with its paper and number of parameters
               alphazoo models gats    its equations, what differs from the paper, its settings
  import-qlib  take over weights or scores that Qlib saved
               alphazoo import-qlib weights.pkl model=gats out=gats.ckpt
               alphazoo import-qlib pred.pkl out=scores.parquet    its scores, for evaluate
  data check   what a data source holds and what looks odd in it
               alphazoo data check data=table data.path=FILE
  data audit   whether features look ahead: computed again without the days that follow
               alphazoo data audit data=qlib data.path=FOLDER features=alpha158
  data export  unscaled features and the raw forward return as a table
               alphazoo data export data=qlib data.path=FOLDER from=2017 out=features.parquet

HYDRA_FULL_ERROR=1 shows the traceback of an error.
"""


def main() -> None:
    """Run the command in ``sys.argv``; an expected fault is one message and exit status 1."""
    asked = sys.argv[1:]
    if asked[:1] != ["train"] and {"-h", "--help"} & set(asked):  # those of train are Hydra's
        asked = []
    if asked[:1] in ([], ["help"]):
        print(HELP, end="")
        return
    words = 1 + (asked[0] == "data")
    name = " ".join(asked[:words])
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {did_you_mean(name, COMMANDS)}")
    _run(COMMANDS[name], asked[words:])


def _run(command: Callable[[list[str]], None], arguments: list[str]) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        command(arguments)
        return

    from hydra.errors import CompactHydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        command(arguments)
    except AlphazooError as error:
        sys.exit(f"error: {error}")
    except (CompactHydraException, OmegaConfBaseException) as error:
        from alphazoo.config import explain

        sys.exit(f"error: {explain(error, arguments)}")
    except OSError as error:
        sys.exit(f"error: {error}")
    except ValueError as error:
        from alphazoo.config import NO_CHOICE, explain

        if not str(error).startswith(NO_CHOICE):
            raise
        sys.exit(f"error: {explain(error, arguments)}")
