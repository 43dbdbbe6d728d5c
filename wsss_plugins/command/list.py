"""Lists configs, plug-ins or vision transformers: wsss list configs."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
from pathlib import Path

from wsss_plugins.config_files import CONFIGS, config_names
from wsss_plugins.errors import ConfigError, near_names

PACKAGE = Path(__file__).resolve().parents[1]
VITS_PAGE = PACKAGE.parent / 'docs' / 'generated' / 'timm_vits.md'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss list``."""
    kinds = parser.add_subparsers(required=True, metavar='KIND')
    _add_configs(kinds)
    _add_plugins(kinds)
    _add_vits(kinds)


def run(args: argparse.Namespace) -> None:
    """Lists what the first word names."""
    args.list(args)


def _add_configs(kinds: argparse._SubParsersAction) -> None:
    text = 'names of all configs, and what each trains or runs'
    parser = kinds.add_parser('configs', help=text, description=text)
    parser.add_argument(
        'folder',
        nargs='?',
        type=Path,
        default=CONFIGS,
        help='a folder of configs (default: those of this package)',
    )
    page = parser.add_mutually_exclusive_group()
    page.add_argument(
        '--page',
        action='store_true',
        help='print a page in Markdown, with the data and the tables of papers',
    )
    page.add_argument(
        '--write', action='store_true', help='write this page to FOLDER/README.md'
    )
    parser.set_defaults(list=list_configs)


def list_configs(args: argparse.Namespace) -> None:
    """Prints the names of the configs, or their page, or writes the page.

    Raises:
        ConfigError: The folder has no config, or a config cannot be read.
    """
    from wsss_plugins.experiment.config_list import page_of, read_configs
    from wsss_plugins.structures.files import atomic_path

    if args.write:
        with atomic_path(args.folder / 'README.md') as part:
            part.write_text(page_of(read_configs(args.folder)), encoding='utf-8')
    elif args.page:
        print(page_of(read_configs(args.folder)), end='')
    else:
        names = config_names(args.folder)
        if not names:
            raise ConfigError(
                f'{args.folder} holds no config: name a folder of configs'
            )
        for name in names:
            text = (args.folder / f'{name}.py').read_text('utf-8')
            said = ast.get_docstring(ast.parse(text)) or ''
            print(f'{name:<40} {said.partition(chr(10))[0]}')


def _add_plugins(kinds: argparse._SubParsersAction) -> None:
    text = 'all plug-ins: registry, name, first line of the docstring, source file'
    parser = kinds.add_parser('plugins', help=text, description=text)
    parser.add_argument(
        '--import', dest='modules', nargs='*', default=[], metavar='MODULE'
    )
    parser.add_argument('--all', action='store_true', help="mmengine's and mmseg's too")
    parser.set_defaults(list=list_plugins)


def list_plugins(args: argparse.Namespace) -> None:
    """Prints one line per plug-in.

    Raises:
        ConfigError: A module of ``--import`` cannot be imported.
    """
    from wsss_plugins.registry import all_registries, plugin_names

    for module in args.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(f'--import {module}: {error}') from error
    for title, registry in all_registries():
        everything = plugin_names(registry)  # imports what registers
        for name in everything if args.all else sorted(registry.module_dict):
            cls = registry.get(name)
            doc = (inspect.getdoc(cls) or '').split('\n', 1)[0]
            file = Path(inspect.getsourcefile(cls) or '?')
            ours = file.is_relative_to(PACKAGE)
            place = file.relative_to(PACKAGE.parent) if ours else cls.__module__
            print(f'{title:<12} {name:<28} {doc}  [{place}]')


def _add_vits(kinds: argparse._SubParsersAction) -> None:
    text = 'vision transformers of timm: with which seed heads each works, and why not'
    parser = kinds.add_parser('vits', help=text, description=text)
    parser.add_argument(
        'names', nargs='*', help='names of timm; all of them by default'
    )
    parser.add_argument(
        '--write',
        action='store_true',
        help=f'try all and write {VITS_PAGE.name} into the docs of a checkout',
    )
    parser.set_defaults(list=list_vits)


def list_vits(args: argparse.Namespace) -> None:
    """Prints a line per model, or writes the page of all of them.

    Raises:
        ConfigError: timm has no model of a name, names are given with --write, or there
            are no docs to write to.
    """
    import timm

    from wsss_plugins.backbones.timm_survey import names
    from wsss_plugins.experiment.vit_list import find, line_of, page_of
    from wsss_plugins.structures.files import atomic_path

    if args.names and args.write:
        raise ConfigError('--write tries all models: leave the names out')
    if args.write and not VITS_PAGE.parent.is_dir():
        raise ConfigError('--write needs the docs: run it in a checkout')
    for name in args.names:
        if name not in timm.list_models():
            near = near_names(name, timm.list_models())
            raise ConfigError(f"timm has no model '{name}': {near}", token=name)
    findings = find(
        args.names or names(), lambda found: print(found.verdict, line_of(found))
    )
    if args.write:
        with atomic_path(VITS_PAGE) as part:
            part.write_text(page_of(findings), encoding='utf-8')
