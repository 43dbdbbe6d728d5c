"""Prints a script by which a shell completes wsss: wsss completion bash.

Write it where your shell looks for such scripts, once after each update:

  bash: wsss completion bash > ~/.local/share/bash-completion/completions/wsss
  zsh:  wsss completion zsh > FOLDER/_wsss, with a FOLDER that is in $fpath
  tcsh: wsss completion tcsh > ~/.wsss.tcsh, and in ~/.tcshrc: source ~/.wsss.tcsh

The script is made by shtab: pip install "wsss_plugins[completion]".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.command.main import command_parser
from wsss_plugins.config_files import config_names
from wsss_plugins.errors import UserError

LIGHT = True
SHELLS = ('bash', 'zsh', 'tcsh')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss completion``."""
    parser.add_argument('shell', choices=SHELLS)


def run(args: argparse.Namespace) -> None:
    """Prints the script.

    Raises:
        UserError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise UserError(
            'shtab makes the script and is not installed: run `pip install shtab`'
        ) from error
    parser = command_parser(with_arguments=True)
    for action in _actions(parser):
        if action.dest == 'config':
            action.complete = shtab.FILE | FUNCTIONS  # type: ignore[attr-defined]
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    names = ' '.join(config_names())
    preamble = PREAMBLE.get(args.shell, '').replace('NAMES', names)
    print(shtab.complete(parser, args.shell, preamble=preamble))


FUNCTIONS = {'bash': '_wsss_configs', 'zsh': '_wsss_configs'}
"""Functions of the script that complete the name or the file of a config."""

PREAMBLE = {
    'bash': """\
_wsss_configs() {
  compgen -W 'NAMES' -- "$1"
  compgen -f -- "$1"
}
""",
    'zsh': """\
_wsss_configs() {
  _alternative 'configs:config:(NAMES)' 'files:file:_files'
}
""",
}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All arguments of a parser and of its sub-commands."""
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _actions(command)
    return found
