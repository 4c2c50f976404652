"""The command line ``alphazoo``: runs a command and prints an expected error in one line."""

import io
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module

from alphazoo.commands.catalog import COMMANDS
from alphazoo.commands.help import overview, page
from alphazoo.commands.stopping import stopped_by_signals
from alphazoo.errors import AlphazooError, StoppedError, describe_fault, did_you_mean
from alphazoo.training.quiet import LEVEL, QUIET

QUIET_FLAGS = ("-q", "--quiet")
HELP_FLAGS = ("-h", "--help")


def main() -> None:
    """Run the command in ``sys.argv``; an expected error prints one message and exits with 1."""
    for stream in (sys.stdout, sys.stderr):  # a locale may not have every letter
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:]
    if arguments[:1] != ["completion"] or len(arguments) < 3:  # else words of another command
        if {*QUIET_FLAGS} & {*arguments}:
            os.environ[LEVEL] = QUIET  # of the processes that the command starts, too
            arguments = [argument for argument in arguments if argument not in QUIET_FLAGS]
        if arguments in ([], ["data"]) or arguments[0] == "help" or {*HELP_FLAGS} & {*arguments}:
            _print_help([x for x in arguments if x not in ("help", *HELP_FLAGS)])
            return
        if arguments == ["--version"]:
            from importlib.metadata import version

            print(f"alphazoo {version('alphazoo')}")
            return
    _run(*_split(arguments))


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """Split arguments into the name of the command, of one or two words, and the others."""
    words = 1 + (arguments[0] == "data")
    name = " ".join(arguments[:words])
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {did_you_mean(name, COMMANDS)}")
    return name, arguments[words:]


def _print_help(arguments: list[str]) -> None:
    if arguments in ([], ["data"]):
        print(overview(*arguments), end="")
    else:
        print(page(*_split(arguments)), end="")


def _run(name: str, arguments: list[str]) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    try:
        with stopped_by_signals():
            getattr(import_module(f"alphazoo.commands.{module}"), function)(arguments)
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
