#!/usr/bin/env python
"""Lists the vision transformers of timm: with which seed heads each works, and why not."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.cli import run_tool

PAGE = Path(__file__).resolve().parent.parent / 'docs' / 'generated' / 'timm_vits.md'


def main() -> None:
    """Reads the options and tries the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'names', nargs='*', help='names of timm; all of them by default'
    )
    parser.add_argument(
        '--write', action='store_true', help=f'try all and write {PAGE.name}'
    )
    run_tool(parser, list_vits)


def list_vits(args: argparse.Namespace) -> None:
    """Prints a line per model, or writes the page of all of them.

    Raises:
        ConfigError: timm has no model of a name, or names are given with --write.
    """
    import timm

    from wsss_plugins.backbones.timm_survey import names
    from wsss_plugins.errors import ConfigError, near_names
    from wsss_plugins.experiment.vit_list import find, line_of, page_of
    from wsss_plugins.structures.files import atomic_path

    if args.names and args.write:
        raise ConfigError('--write tries all models: leave the names out')
    for name in args.names:
        if name not in timm.list_models():
            near = near_names(name, timm.list_models())
            raise ConfigError(f"timm has no model '{name}': {near}", token=name)
    findings = find(
        args.names or names(), lambda found: print(found.verdict, line_of(found))
    )
    if args.write:
        PAGE.parent.mkdir(exist_ok=True)
        with atomic_path(PAGE) as part:
            part.write_text(page_of(findings), encoding='utf-8')


if __name__ == '__main__':
    main()
