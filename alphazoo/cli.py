"""The command line ``alphazoo``: runs a command and prints an expected error in one line."""

import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from alphazoo.commands import data, explaining, operations, scoring, serving, training, zoo
from alphazoo.commands.stopping import stopped_by_signals
from alphazoo.errors import AlphazooError, StoppedError, describe_fault, did_you_mean

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": training.train,
    "predict": scoring.predict,
    "export": serving.export,
    "monitor": operations.monitor,
    "update": operations.update,
    "versions": operations.versions,
    "promote": operations.promote,
    "rollback": operations.rollback,
    "benchmark": training.benchmark,
    "evaluate": scoring.evaluate,
    "compare": scoring.compare,
    "ensemble": scoring.ensemble,
    "explain": explaining.explain,
    "models": zoo.models,
    "import-qlib": zoo.import_qlib,
    "data check": data.check,
    "data audit": data.audit,
    "data export": data.export,
}

HELP = """\
usage: alphazoo COMMAND [KEY=VALUE ...]

  train        train a model and score the validation and test days
               alphazoo train model=lstm data=qlib data.path=FOLDER trainer.max_epochs=5
               alphazoo train -m model=lstm,gru seed=1,2,3     every combination
               alphazoo train run=FOLDER [trainer.max_epochs=20]    resume a training run
               alphazoo train sweep=encoder model=lstm         a search with Optuna
               alphazoo train --help                            all groups and keys
  benchmark    models x feature sets x seeds with published settings, as one table
               alphazoo benchmark model=gru,lstm seed=0,1,2 data=qlib data.path=FOLDER out=OUT
               alphazoo benchmark budget=0.05    all models, a twentieth of the epochs
  predict      score the newest day with a finished run
               alphazoo predict run=runs/mine data.path=FOLDER
               alphazoo predict run=runs/mine from=2020-07 to=2020-12 out=scores.csv
               alphazoo predict model_uri=models:/NAME/3 [tracking_uri=URL]    MLflow's registry
               alphazoo predict run=runs/mine append=scores.parquet [version=NAME]    daily
  export       write a finished run as a model that scores without torch
               alphazoo export run=runs/mine out=models/mine [precision=int8]
  monitor      check a model at work: inputs, scores, IC; exit status 2 is an alarm
               alphazoo monitor run=runs/mine scores=scores.parquet data.path=FOLDER
  update       learn the days since, from the weights of a run, and compare with it
               alphazoo update run=runs/mine data.path=FOLDER
  versions     list the versions of a model in MLflow's registry
               alphazoo versions NAME
  promote      make a version the champion, unless it is worse than the champion
               alphazoo promote NAME/3 reason=TEXT data.path=FOLDER
  rollback     make the champion before the last promotion the champion again
               alphazoo rollback NAME reason=TEXT
  evaluate     write a report on the scores of any tool: a table of date, symbol, score
               alphazoo evaluate scores=mine.parquet data=qlib data.path=FOLDER out=OUT
  compare      compare runs: mean and standard deviation over seeds
               alphazoo compare runs/a runs/b out=OUT
  ensemble     average the scores of several runs into a new run
               alphazoo ensemble runs/a runs/b by=rank out=OUT
  explain      show what a trained model looks at: attention, concepts, neighbours, attributions
               alphazoo explain run=runs/mine [checks=true]
               alphazoo explain --help    all keys, more examples
  models       list the models with their papers and numbers of parameters
               alphazoo models gats    equations, differences from the paper, settings
  import-qlib  convert weights or scores that Qlib saved
               alphazoo import-qlib weights.pkl model=gats out=gats.ckpt
               alphazoo import-qlib pred.pkl out=scores.parquet    scores, for evaluate
  data check   summarise a data source and list possible problems
               alphazoo data check data=table data.path=FILE
  data audit   check for look-ahead: recompute features without later days and compare
               alphazoo data audit data=qlib data.path=FOLDER features=alpha158
  data export  write unscaled features and the raw forward return as a table
               alphazoo data export data=qlib data.path=FOLDER from=2017 out=features.parquet

HYDRA_FULL_ERROR=1 shows the traceback of an error.
"""


def main() -> None:
    """Run the command in ``sys.argv``; an expected error prints one message and exits with 1."""
    for stream in (sys.stdout, sys.stderr):  # a locale may not have every letter
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:]
    if arguments[:1] == ["explain"] and {"-h", "--help"} & set(arguments):
        print(explaining.HELP, end="")
        return
    if arguments[:1] != ["train"] and {"-h", "--help"} & set(arguments):  # train has Hydra's help
        arguments = []
    if arguments[:1] in ([], ["help"]):
        print(HELP, end="")
        return
    words = 1 + (arguments[0] == "data")
    name = " ".join(arguments[:words])
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {did_you_mean(name, COMMANDS)}")
    _run(COMMANDS[name], arguments[words:])


def _run(command: Callable[[list[str]], None], arguments: list[str]) -> None:
    try:
        with stopped_by_signals():
            command(arguments)
            sys.stdout.flush()  # a closed pipe is noticed here, not when the interpreter exits
    except StoppedError as stop:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one of several processes says it
            hint = "".join(f"; {note}" for note in getattr(stop, "__notes__", [])[-1:])
            print(f"error: {stop}{hint}", file=sys.stderr)
        sys.exit(128 + stop.number)
    except BrokenPipeError:  # the reader, such as head, has what it wants
        _discard_output()
        sys.exit(128 + 13)  # of a process that SIGPIPE ended
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        text = _describe(error, arguments)
        if text is not None:
            sys.exit(f"error: {text}")
        traceback.print_exc()
        kind = type(error).__name__
        sys.exit(f"error: this is a bug in alphazoo or in your own code, see above: {kind}")


def _describe(error: Exception, arguments: list[str]) -> str | None:
    """Describe an error in one line; None for a bug."""
    if isinstance(error, AlphazooError):
        return str(error)
    from hydra.errors import CompactHydraException
    from omegaconf.errors import OmegaConfBaseException

    from alphazoo.config import NO_CHOICE, explain_config_error

    found = isinstance(error, CompactHydraException | OmegaConfBaseException)
    if found or str(error).startswith(NO_CHOICE):  # some of Hydra's are an OSError as well
        return explain_config_error(error, arguments)
    return describe_fault(error)


def _discard_output() -> None:
    """Let the interpreter flush what is left of the output to nowhere."""
    with suppress(OSError, ValueError):  # standard output may be no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
