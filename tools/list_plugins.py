#!/usr/bin/env python
"""Lists all plug-ins: registry, name, first line of the docstring, source file."""

from __future__ import annotations

import argparse
import importlib
import inspect
from pathlib import Path

from wsss_plugins.cli import run_tool
from wsss_plugins.errors import ConfigError


def main() -> None:
    """Reads the options and lists the plug-ins of this package and of given modules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--import', dest='modules', nargs='*', default=[], metavar='MODULE'
    )
    parser.add_argument('--all', action='store_true', help="mmengine's and mmseg's too")
    run_tool(parser, list_plugins)


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
    root = Path(__file__).resolve().parent.parent
    for title, registry in all_registries():
        everything = plugin_names(registry)  # imports what registers
        for name in everything if args.all else sorted(registry.module_dict):
            cls = registry.get(name)
            doc = (inspect.getdoc(cls) or '').split('\n', 1)[0]
            file = Path(inspect.getsourcefile(cls) or '?')
            place = (
                file.relative_to(root) if file.is_relative_to(root) else cls.__module__
            )
            print(f'{title:<12} {name:<28} {doc}  [{place}]')


if __name__ == '__main__':
    main()
