"""Print a script that completes words in bash or zsh."""

from __future__ import annotations

import argparse
import importlib

_FILES = frozenset({"targets", "file", "files", "words"})

# shtab lets a parser have commands or other words; the first word may be a target as well.
_PREAMBLE: dict[str, str] = {
    "bash": "_shtab_hpcmake_pos_0_COMPGEN=_shtab_compgen_files",
    "zsh": """\
functions[_shtab_hpcmake_words]=$functions[_shtab_hpcmake]
_shtab_hpcmake() {
  _shtab_hpcmake_words "$@"
  (( compstate[nmatches] )) || _files
}""",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `completion`."""
    parser.add_argument("shell", choices=["bash", "zsh"], help="whose script to print")


def run(args: argparse.Namespace) -> int:
    """Print the script; `source <(hpcmake completion bash)` uses it. Returns the exit code."""
    import shtab

    print(shtab.complete(_whole_parser(), args.shell, preamble=_PREAMBLE[args.shell]))
    return 0


def _whole_parser() -> argparse.ArgumentParser:
    """All commands and options in one parser, as shtab wants them."""
    from buildhpc.cli import COMMANDS, build_parser, common_options

    whole = argparse.ArgumentParser(prog="hpcmake", description="Make files from files.")
    commands = whole.add_subparsers()
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"buildhpc.commands.{name}")
        parser = commands.add_parser(name, help=text)
        common_options(parser)
        module.arguments(parser)
        _complete_values(parser)
    for action in build_parser()._actions:
        if action.dest not in ("help", "targets"):
            whole._add_action(action)
    _complete_values(whole)
    return whole


def _complete_values(parser: argparse.ArgumentParser) -> None:
    """Let files and folders complete to what is there."""
    import shtab

    for action in parser._actions:
        if action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab is told
        elif action.dest == "directory":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as above
        if action.nargs == "?" and action.option_strings:
            action.nargs = None  # shtab takes what follows for this option's for ever
