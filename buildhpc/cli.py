"""The command `hpcmake`: which command is meant, its options, the exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from buildhpc import __version__
from buildhpc.commands.numbers import seconds, whole_number

# Name -> what it does. A command lives in the module of its name in `buildhpc.commands`.
COMMANDS: dict[str, str] = {
    "status": "jobs by state and rule, what runs, what failed",
    "logs": "what jobs printed",
    "why": "why a target would or would not be made",
    "show": "everything known of a job",
    "graph": "rules or jobs as text, Mermaid, DOT or SVG",
    "stats": "per rule time and memory asked for and used, with advice",
    "report": "one page, hpcmake-report.html, of all that was done",
    "check": "everything that can be known of the Pipefile without running",
    "fmt": "the Pipefile in its standard form",
    "clean": "remove outputs, never inputs",
    "watch": "follow runs on clusters, and keep submitting",
    "set": "say something of a job: from inside it how far it is, of others their priority",
    "spawn": "from inside a job: go on as N parts, the last of which ends it",
    "cancel": "stop jobs, here and on clusters",
    "retry": "run again what failed, was skipped, cancelled or lost",
    "advance": "take runs on clusters one step on, as jobs do when they end",
    "reset": "let the next build run jobs again",
    "forget": "remove what is known of jobs",
    "export": "job scripts for a scheduler, for people to submit",
    "init": "write a commented Pipefile to start from",
    "completion": "a script that completes words in bash or zsh",
}

_VALUED = {"-C", "-f", "--set", "--directory", "--file"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a call in our manner."""

    def error(self, message: str) -> NoReturn:
        from buildhpc.messages import call

        option, colon, wrong = message.removeprefix("argument ").partition(": ")
        if colon and message.startswith("argument -"):
            raise call.bad_option(f"`{option}`: {wrong}")
        word = next((w for w in message.replace("=", " ").split() if w.startswith("-")), "")
        known = [option for action in self._actions for option in action.option_strings]
        raise call.bad_option(message, known, word.rstrip(":,"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run hpcmake with these words; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # a path may be no UTF-8
    try:
        return _main(words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        from buildhpc.diagnostics import HpcmakeError

        if debug:
            raise
        if isinstance(error, HpcmakeError):
            sys.stdout.flush()
            print(error, file=sys.stderr)
            return error.exit_code
        if isinstance(error, OSError):
            print(f"error[system]: {error}", file=sys.stderr)
            return 2
        print(_bug(error), file=sys.stderr)
        return 2


def _bug(error: Exception) -> str:
    return (
        f"error[internal]: hpcmake itself failed: {type(error).__name__}: {error}\n"
        " = help: this is a bug of hpcmake; `--debug` shows where, which helps to report it"
    )


def _main(words: list[str]) -> int:
    command = command_of(words)
    if command is None:
        args = build_parser().parse_args(words)
        module = importlib.import_module("buildhpc.commands.build")
    else:
        module = importlib.import_module(f"buildhpc.commands.{command}")
        args = command_parser(command, module.__doc__ or "", module.arguments).parse_args(
            _without_word(words, command)
        )
    if args.directory:
        _enter(args.directory)
    try:
        code: int = module.run(args)
    except Exception as error:
        if command is None and (meant := _near_command(error, args.targets)):
            from buildhpc.messages import call

            raise call.perhaps_command(args.targets[0], meant) from None
        raise
    return code


def _near_command(error: Exception, targets: Sequence[str]) -> str | None:
    """The command that the first target nearly names, where nothing else bears such a name."""
    from buildhpc.diagnostics import HpcmakeError, nearest

    if not isinstance(error, HpcmakeError) or not targets or os.path.exists(targets[0]):
        return None
    problem = error.problems[0]
    named = problem.slug == "no-rule" and problem.text.startswith(f"no rule makes `{targets[0]}`,")
    plain = not any(note.kind == "needed by" or "slip" in note.text for note in problem.notes)
    if problem.slug == "no-pipefile" or (named and plain):
        return next(iter(nearest(targets[0], COMMANDS)), None)
    return None


def command_of(words: Sequence[str]) -> str | None:
    """The command among the words; None where they ask for a build."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--":
            return None
        elif word.startswith("-"):
            skip = word in _VALUED
        else:
            return word if word in COMMANDS else None
    return None


def _without_word(words: list[str], command: str) -> list[str]:
    at = words.index(command)
    return words[:at] + words[at + 1 :]


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        from buildhpc.messages import call

        raise call.no_such_folder(folder, (error.strerror or str(error)).lower()) from None


def build_parser() -> argparse.ArgumentParser:
    """The options of a build."""
    listed = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    parser = _Parser(
        prog="hpcmake",
        description="Make files from files, as the Pipefile says; only what is stale runs.",
        epilog=f"commands:\n{listed}\n\n`hpcmake COMMAND --help` tells more. "
        "`hpcmake -- status` builds a target of that name.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="a file, or the name of a rule"
    )
    parser.add_argument("--version", action="version", version=f"hpcmake {__version__}")
    common_options(parser)
    _what_options(parser)
    _how_options(parser)
    _priority_options(parser)
    _cluster_options(parser)
    return parser


def command_parser(name: str, doc: str, arguments: object) -> argparse.ArgumentParser:
    """The options of a command; `arguments` adds its own."""
    parser = _Parser(
        prog=f"hpcmake {name}",
        description=doc.split("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common_options(parser)
    arguments(parser)  # type: ignore[operator]  # every command module has `arguments(parser)`
    return parser


def common_options(parser: argparse.ArgumentParser) -> None:
    """Options that every command has."""
    group = parser.add_argument_group("what to work with")
    group.add_argument("-C", "--directory", metavar="DIR", help="work in this folder")
    group.add_argument("-f", "--file", metavar="FILE", help="the Pipefile")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value of `config`"
    )
    group.add_argument("--debug", action="store_true", help="show tracebacks of errors")


def _what_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to build")
    add = group.add_argument
    add("--force", action="store_true", help="make the targets anew, fresh or not")
    add("--force-rule", action="append", default=[], metavar="RULE", help="all jobs of this rule")
    add("--force-all", action="store_true", help="make everything anew")
    add("--until", action="append", default=[], metavar="RULE", help="go no further than this rule")
    add(
        "--only",
        action="store_true",
        help="only the jobs that make the targets, or with `--until` those of its rules; not what"
        " they need",
    )
    add(
        "--omit",
        action="append",
        default=[],
        metavar="RULE",
        help="leave out this rule and what needs it",
    )
    add(
        "--check",
        choices=["stamp", "content"],
        default="stamp",
        help="what tells a changed input: time and size, or its content",
    )
    add(
        "--touch", action="store_true", help="accept the files that are there as fresh, run nothing"
    )
    add("--unprotect", action="store_true", help="let protected outputs be made anew")


def _priority_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what goes first")
    add = group.add_argument
    add(
        "--priority-groups",
        action="store_true",
        help="jobs of a lower priority wait until all of a higher one are done",
    )
    add(
        "--min-priority",
        type=int,
        metavar="N",
        help="only jobs of this priority and above, and what they need",
    )


def _cluster_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where to build")
    add = group.add_argument
    add("--cluster", metavar="NAME", help="run the jobs on this cluster: slurm, sge, pbs, ...")
    add(
        "--cluster-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="over what hpcmake.toml says of the cluster",
    )
    add("--detach", action="store_true", help="submit to the cluster, and do not wait")


def _how_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to build")
    add = group.add_argument
    add(
        "-j",
        "--jobs",
        type=whole_number(1),
        nargs="?",
        const=0,
        metavar="N",
        help="cores to use; without a number all of them (default: 1)",
    )
    add("-n", "--dry-run", action="store_true", help="show what would run and why, do nothing")
    add(
        "-k",
        "--keep-going",
        action="store_true",
        help="after a failure, go on with what does not need it",
    )
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help="of mem, gpus, or a resource of your own",
    )
    add("--retries", type=whole_number(0), metavar="N", help="try every failed job again so often")
    add("--keep-incomplete", action="store_true", help="leave what a failed job made")
    add(
        "--latency",
        type=seconds,
        metavar="S",
        help="seconds to wait for a file server to show an output (default: 5, on a cluster what"
        " its settings say, or 30)",
    )
    add("--logs", metavar="DIR", help="a folder for what each attempt prints, to .out and .err")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("-v", "--verbose", action="store_true", help="say more")
    add("--json", action="store_true", help="one event a line, as JSON")


if __name__ == "__main__":
    sys.exit(main())
