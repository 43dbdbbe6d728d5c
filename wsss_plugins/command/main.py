"""The command ``wsss``: from the first word of a command line to the sub-command.

A sub-command is a module of this room that has the name of the command:

- Its docstring is what ``--help`` says.
- ``add_arguments(parser)`` adds its arguments.
- ``run(args)`` does the work, with the values of the arguments.
- ``LIGHT = True`` states that it works in any environment: the installed packages are not
  checked, and mmseg is not imported.

Only the module of the command that is asked for is imported. It imports torch, mmengine
and mmseg inside its functions, see :mod:`wsss_plugins.cli`.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from types import ModuleType

import wsss_plugins
from wsss_plugins.cli import OneLineParser, run_tool
from wsss_plugins.errors import near_names

COMMANDS = {
    'train': 'train the model of one config',
    'test': 'measure a trained model',
    'run': 'run the stages of a pipeline',
    'matrix': 'run a grid of classifiers, seed heads, refiners and random seeds',
    'launch': 'run one of these commands with several workers',
    'table': 'put results of several runs into one table',
    'errors': 'show what is wrong where in label maps or seeds',
    'diff': 'compare two runs',
    'board': 'show all work dirs in the browser, live while they run',
    'explain': 'draw what a classifier looks at in a photo',
    'prepare': 'prepare a data set',
    'doctor': 'examine data sets and the environment',
    'convert': 'convert seeds between projects',
    'export': 'export a trained backbone as initial weights',
    'list': 'list configs, plug-ins or vision transformers',
    'init': 'write a small project of your own: a seed head, a config, a test',
    'completion': 'print a script by which a shell completes these commands',
}
"""The sub-commands, in the order of ``wsss --help``, and what each does."""


def main() -> None:
    """The command ``wsss``."""
    name, *words = sys.argv[1:] or ['']
    if name in COMMANDS:
        _run(name, words, f'wsss {name}')
        return
    parser = command_parser()
    if name and not name.startswith('-'):
        parser.error(f"there is no command '{name}': {near_names(name, COMMANDS)}")
    parser.parse_args()  # which ends with the help, the version or an error


def run_alone(name: str, *words: str) -> None:
    """Runs a sub-command as a script of ``tools/``, which has a name of its own.

    Args:
        name: The sub-command.
        words: Words between its name and those of the script's command line, such as
            'configs' after 'list'.
    """
    _run(name, [*words, *sys.argv[1:]])


def command_parser(with_arguments: bool = False) -> argparse.ArgumentParser:
    """The parser of ``wsss``, which lists the sub-commands.

    Args:
        with_arguments: Add the arguments of all sub-commands, for which their modules are
            imported.
    """
    parser = OneLineParser(
        prog='wsss',
        description='Semantic segmentation from image-level labels, by plug-ins.',
    )
    version = f'wsss_plugins {wsss_plugins.__version__}'
    parser.add_argument('--version', action='version', version=version)
    commands = parser.add_subparsers(metavar='COMMAND', title='commands', required=True)
    for name, does in COMMANDS.items():
        command = commands.add_parser(name, help=does)
        if with_arguments:
            _module(name).add_arguments(command)
    return parser


def _run(name: str, words: list[str], program: str | None = None) -> None:
    """Runs a sub-command on the words of its command line."""
    module = _module(name)
    parser = OneLineParser(
        program,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    run_tool(parser, module.run, not getattr(module, 'LIGHT', False), words)


def _module(name: str) -> ModuleType:
    return import_module(f'{__package__}.{name}')
