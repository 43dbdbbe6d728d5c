"""Functions of all command-line tools: options, workers, and messages of errors.

A tool reads its command line before torch, mmengine or mmseg are imported, so that
``--help`` and a misspelt option are answered at once. Whatever imports one of these is
therefore imported inside the functions of a tool, not at its head.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from wsss_plugins.config_files import find_config
from wsss_plugins.ending import (
    Signals,
    follow_launcher,
    in_one_line,
    leave,
    leave_failed,
    leave_lost,
    lost_connection,
    said_of_reader,
)
from wsss_plugins.environment import check_environment
from wsss_plugins.errors import ConfigError, UserError, near_names, of_the_machine

# Here, since the processes that a tool spawns import its script and with it this module.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformable')
# mmseg says so also with class weights, where it does leave ignored pixels out.
warnings.filterwarnings('ignore', message='Default ``avg_non_ignore`` is False')


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line, and which options are near."""

    def parse_args(  # type: ignore[override]  # one signature for both overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Reads a command line; ends the process at a word that no argument takes."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            words = sys.argv[1:] if args is None else args
            self.error(self._unknown(unknown[0].partition('=')[0], words))
        return found

    def error(self, message: str) -> NoReturn:
        """Ends the process with one line and exit code 2."""
        line = f'{self.prog}: error: {message} (more: {self.prog} --help)'
        self.exit(2, f'{in_one_line(line)}\n')

    def _unknown(self, word: str, words: Sequence[str]) -> str:
        """What to say of a word that no argument takes."""
        if not word.startswith('-'):
            return f"'{word}' is one word too many"
        options = [
            option
            for action in self._actions_of(words)
            for option in action.option_strings
            if option.startswith('--')
        ]
        return f"there is no option '{word}': {near_names(word, options)}"

    def _actions_of(self, words: Sequence[str]) -> list[argparse.Action]:
        """The arguments of this parser and of the sub-commands that the words name."""
        found = list(self._actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word in words:
                    if word in action.choices:
                        return found + action.choices[word]._actions_of(words)
        return found


def run_tool(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], None],
    check: bool = True,
    words: Sequence[str] | None = None,
) -> None:
    """Reads the command line, then runs a tool.

    What the user can mend becomes one line and exit code 2.

    Args:
        parser: The options of the tool.
        work: The tool, called with the values of the options.
        check: Check the environment before ``work``, whose imports a wrong one breaks.
        words: The command line without its first word (default: that of this process).
    """
    signals = Signals()
    follow_launcher()
    try:
        args = parser.parse_args(words)
        if check:
            check_environment()
            _import_quietly()
        work(args)
    except UserError as error:
        leave(said_of_reader(error) or str(error))
    except BrokenPipeError:  # the reader of a pipe (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        signals.leave()
    except Exception as error:
        if signals.number:  # such as of a connection that another worker closed
            signals.leave()
        _leave_for(error)
    finally:
        signals.undo()


def _leave_for(error: Exception) -> None:
    """Ends a tool with one line for an error that is not raised for users.

    Raises:
        Exception: The error itself, where it is one of the program.
    """
    if lost_connection(error):
        leave_lost()
    message = said_of_reader(error) or of_the_machine(error)
    if message is not None:
        leave(message)
    if 'RANK' in os.environ:
        leave_failed(error)
    raise error


def _import_quietly() -> None:
    """Imports mmseg without its notes on optional packages that nothing here needs."""
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module('mmseg.datasets')


def positive(text: str) -> int:
    """The type of an option that takes a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 on")
    return int(text)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every command on a config takes."""
    parser.add_argument(
        'config',
        help='the file of a config, or the name of one that comes with the package, e.g. '
        'acr/synthetic (all names: wsss list configs)',
    )
    parser.add_argument(
        '--work-dir', help='where results go (default: work_dirs/CONFIG)'
    )
    parser.add_argument('--data-root', help='replaces every data_root of the config')
    parser.add_argument('--seed', type=int, help='random seed (default: of the config)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='dotted keys and their values, e.g. train_cfg.max_epochs=1',
    )
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch'),
        default='none',
        help='set by wsss launch',
    )


def add_redo_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options on results that are there: ``--redo`` and ``--accept-code``."""
    parser.add_argument(
        '--redo',
        action='append',
        default=[],
        metavar='STAGE',
        help='do this stage again, and with it those that read it; may be repeated',
    )
    parser.add_argument(
        '--accept-code',
        action='store_true',
        help='keep results of which only the code has changed; their cards say so',
    )


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """Reads ``KEY=VALUE`` pairs; values are Python literals, or else strings.

    Raises:
        ConfigError: A pair without ``=`` or without a key, or a value of hundreds of nested lists.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition('=')
        if not sign or not all(key.split('.')):
            raise ConfigError(f"--cfg-options takes KEY=VALUE, not '{pair}'")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError):
            options[key] = value
        except (RecursionError, MemoryError) as error:
            raise ConfigError(
                f'--cfg-options {key}: the value is nested too deeply: write it into a config'
            ) from error
    return options


def command_line() -> str:
    """The command line of this process, as one would give it again."""
    tool = Path(sys.argv[0])
    is_script = tool.suffix == '.py' and tool.stem != '__main__'
    words = ['python', f'tools/{tool.name}'] if is_script else ['wsss']
    return shlex.join([*words, *sys.argv[1:]])


def default_work_dir(config: str) -> Path:
    """``work_dirs/acr/synthetic`` of ``configs/acr/synthetic.py``."""
    path = Path(config)
    return Path('work_dirs') / path.resolve().parent.name / path.stem


def run_config(
    args: argparse.Namespace, work: Callable[[argparse.Namespace, Any], None]
) -> None:
    """Reads the config that a command was given and does ``work`` on it with all workers.

    Args:
        args: Values of what :func:`add_config_arguments` adds; ``args.config`` becomes the
            path of the file.
        work: Called with ``args`` and the config. Its models must not outlive it.

    Raises:
        ConfigError: A mistake in the config, with the file and line of the word at fault.
    """
    from wsss_plugins.arguments import check_seed
    from wsss_plugins.config import load_config, set_everywhere
    from wsss_plugins.engine.workers import worker_group

    args.config = str(find_config(args.config))
    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        # mmengine collects garbage for every data set that is made: what is imported by
        # now never is garbage, and looking through it takes a quarter of a second.
        gc.freeze()
        if args.data_root:
            set_everywhere(cfg, 'data_root', args.data_root)
        if args.seed is not None:
            check_seed(args.seed)
            cfg.seed = args.seed
        with worker_group():
            work(args, cfg)
    except ConfigError as error:
        options = parse_options(args.cfg_options)
        raise with_place(error, args.config, options) from error


def with_place(
    error: ConfigError, config: str, options: dict[str, Any] | None = None
) -> ConfigError:
    """The error with the place where the word at fault was written.

    Args:
        error: Its ``token`` is that word.
        config: File of the config.
        options: What ``--cfg-options`` has overridden in it; an option that has the word
            in its value, or as the last part of its key, is named before any line of
            the file.
    """
    from wsss_plugins.config import has_word, locate

    for key, value in (options or {}).items():
        words = {key.rsplit('.', 1)[-1]: value}
        if error.token and has_word(words, error.token):
            if '--cfg-options' in str(error):
                return error
            return ConfigError(f'--cfg-options {key}: {error}')
    place = locate(config, error.token) if error.token else None
    if place is None and config in str(error):
        return error
    return ConfigError(f'{place or config}: {error}')


def show_looks(looks: Iterable[Any]) -> None:
    """Prints what looks at data sets found.

    Args:
        looks: Of :func:`wsss_plugins.experiment.data_look.look_at_data`.
    """
    for look in looks:
        for line in look.lines():
            sys.stdout.write(f'{line}\n')


def shown(metrics: Mapping[str, float]) -> str:
    """The metrics in a line; counts have no decimals."""
    counts = ('classes', 'images', 'absent_classes', 'absent_as_0', 'left_out')
    return '  '.join(
        f'{key} {value:.0f}'
        if key.rsplit('/', 1)[-1] in counts
        else f'{key} {value:.2f}'
        for key, value in metrics.items()
    )
