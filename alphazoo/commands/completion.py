"""alphazoo completion: the scripts of the shells, and the words that they offer.

Hydra completes overrides as well, but knows no commands, and takes a second for each word, because
it composes the config. Here, a word takes a tenth of that: only yaml files are read.
"""

from collections.abc import Iterator, Mapping, Sequence

from alphazoo.commands.arguments import CONFIG_DIR
from alphazoo.commands.catalog import COMMANDS, FLAGS, MONITORING, TRAIN, Command, expected
from alphazoo.commands.yaml_keys import find_folders, read_groups, read_keys
from alphazoo.errors import InputError

# each asks `alphazoo completion SHELL WORD...` for what may stand in place of the last word; where
# it has no answer, the shell completes files
SCRIPTS = {
    "bash": r"""_alphazoo() {
    local line=${COMP_LINE:0:COMP_POINT} words found word
    local IFS=$' \t'
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r found _; do
        # readline replaces only what follows the last of these
        [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && found=${found#"${word%%=*}="}
        [[ $found == *[=./] ]] || found+=' '
        COMPREPLY+=("$found")
    done < <("${words[0]}" completion bash "${words[@]:1}" 2>/dev/null)
}
complete -o default -o nospace -F _alphazoo alphazoo
""",
    "zsh": r"""_alphazoo() {
    local line word
    local -a whole parts
    while IFS=$'\t' read -r word line; do
        [[ $word == *[=./] ]] && parts+=("$word") || whole+=("$word")
    done < <(${words[1]} completion zsh "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    (( $#whole )) && compadd -Q -- $whole
    (( $#parts )) && compadd -Q -S '' -- $parts
    (( $#whole + $#parts )) && return
    compset -P '*='
    _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _alphazoo alphazoo
""",
    "fish": r"""function __alphazoo_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l found ($before[1] completion fish $before[2..-1] "$word" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else if string match -q '*=*' -- $word
        set -l key (string replace -r '=.*' '=' -- $word)
        printf '%s\n' $key(__fish_complete_path (string replace -r '^[^=]*=' '' -- $word))
    else
        __fish_complete_path $word
    end
end
complete -c alphazoo -f -a '(__alphazoo_complete)'
""",
}
TRUTH = ("true", "false")
PLACEHOLDERS = ("KEY", "monitoring.NAME")


def completion(arguments: list[str]) -> None:
    """Print the script of a shell; with words of a command line, what may stand for the last."""
    shell, *words = arguments or [""]
    if shell not in SCRIPTS:
        raise InputError(expected("completion"))
    if not words:
        print(SCRIPTS[shell], end="")
        return
    for word, meaning in complete(words).items():
        print(f"{word}\t{meaning}".rstrip())


def complete(words: Sequence[str]) -> dict[str, str]:
    """Return what may stand in place of the last word, with meanings; nothing where a file may.

    Args:
        words: The command line without ``alphazoo``; the last word is unfinished, perhaps empty.
    """
    *before, word = words
    while before and before[0].startswith("-"):
        before.pop(0)
    name = " ".join(before[: 1 + (before[:1] == ["data"])])
    if name in COMMANDS:
        found = dict(_arguments(name, before[len(name.split()) :], word))
    else:
        found = _commands(before)
    return {text: meaning for text, meaning in found.items() if text.startswith(word)}


def _commands(before: Sequence[str]) -> dict[str, str]:
    """Return the names of commands, or of the second words of those that begin alike."""
    if before not in ([], ["data"]):
        return {}
    number = len(before)
    return {
        name.split()[number]: command.does if len(name.split()) == number + 1 else ""
        for name, command in COMMANDS.items()
        if name.split()[:number] == before and len(name.split()) > number
    }


def _arguments(name: str, before: Sequence[str], word: str) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a command that fit the beginning of a word."""
    command = COMMANDS[name]
    key, separator, value = word.partition("=")
    if before and before[-1] in CONFIG_DIR:
        return
    if separator:
        first = value[: value.rfind(",") + 1]  # several values, as a sweep takes them
        for choice in _choices(key, before, command):
            yield f"{key}={first}{choice}", ""
    elif word.startswith("-"):
        for text, meaning in {**command.arguments, **FLAGS}.items():
            yield from ((x.split()[0], meaning) for x in text.split(", ") if x.startswith("--"))
    else:
        yield from _positional(command)
        for text, meaning in command.arguments.items():
            name, separator, _ = text.partition("=")
            if separator and name not in PLACEHOLDERS:
                yield f"{name}=", meaning
        if command.settings:
            yield from _settings(before, word, command.settings)


def _positional(command: Command) -> Iterator[tuple[str, str]]:
    if command is COMMANDS["models"]:
        yield from ((model, "") for model in read_groups(find_folders([]))["model"])
    if command is COMMANDS["completion"]:
        yield from ((shell, "") for shell in SCRIPTS)


def _choices(key: str, before: Sequence[str], command: Command) -> Sequence[str]:
    """Return the choices of an argument, of a group, or of a key that is true or false."""
    groups = _groups(before, command.settings)
    if key in groups:
        return groups[key]
    known = command.keys if key in command.keys or not command.settings else read_keys(before)
    value = known.get(key, "")
    return TRUTH if value in TRUTH else value.split("|") if "|" in value else ()


def _groups(before: Sequence[str], settings: str) -> Mapping[str, list[str]]:
    """Return the groups that a command takes; a finished run has chosen already."""
    if settings == TRAIN:
        return read_groups(find_folders(before))
    if settings == MONITORING:
        names = (x.stem for f in find_folders(before) for x in f.glob(f"{MONITORING}/*.yaml"))
        return {MONITORING: sorted(names)}
    return {}


def _settings(before: Sequence[str], word: str, settings: str) -> Iterator[tuple[str, str]]:
    """Yield groups and keys; of keys with a dot, the part up to the next dot."""
    for group in _groups(before, settings):
        if "/" in word or "/" not in group:
            yield f"{group}=", "config group"
    keys = read_keys(before)
    start = word.rpartition(".")[0]
    prefix = f"{start}." if start else ""
    for key, value in keys.items():
        if key.startswith(prefix):
            name, dot, _ = key.removeprefix(prefix).partition(".")
            yield f"{prefix}{name}{dot or '='}", "" if dot else f"now {value}"
