#!/usr/bin/env python
"""Lists every config: what it trains or runs, on what data, for which table of a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.cli import run_tool

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'


def main() -> None:
    """Reads the options and lists the configs of one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', nargs='?', type=Path, default=CONFIGS)
    parser.add_argument(
        '--write', action='store_true', help='write FOLDER/README.md, print nothing'
    )
    run_tool(parser, list_configs)


def list_configs(args: argparse.Namespace) -> None:
    """Prints the list, or writes it into the folder of the configs.

    Raises:
        ConfigError: The folder has no config, or a config cannot be read.
    """
    from wsss_plugins.experiment.config_list import page_of, read_configs
    from wsss_plugins.structures.files import atomic_path

    page = page_of(read_configs(args.folder))
    if args.write:
        with atomic_path(args.folder / 'README.md') as part:
            part.write_text(page, encoding='utf-8')
    else:
        print(page, end='')


if __name__ == '__main__':
    main()
