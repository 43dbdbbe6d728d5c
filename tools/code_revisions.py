#!/usr/bin/env python
"""Declares whether edited modules of this package still compute the same results.

Every module has a revision. Results of an earlier version stay valid as long as the
revisions of the modules that made them do not change. Without an option, this tool lists
the modules that were edited since the last declaration, and fails if there are any.
"""

from __future__ import annotations

import argparse

from wsss_plugins.cli import OneLineParser, run_tool


def main() -> None:
    """Reads the options; lists edited modules, or declares them."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument(
        '--same',
        action='store_true',
        help='all edited modules compute the same as before: results stay valid',
    )
    parser.add_argument(
        '--different',
        nargs='+',
        default=[],
        metavar='MODULE',
        help='these modules compute something else: they get a new revision, and stages '
        'that use them run again',
    )
    run_tool(parser, declare)


def declare(args: argparse.Namespace) -> None:
    """Updates the file of revisions according to the options.

    Raises:
        UserError: A module was edited and not declared, or a name of ``--different`` is
            no module that changes results.
    """
    from wsss_plugins.engine.code_digests import (
        package_digests,
        read_revisions,
        write_revisions,
    )
    from wsss_plugins.errors import UserError, near_names

    now, known = package_digests(), read_revisions()
    for module in args.different:
        if module not in now:
            raise UserError(
                f"--different: no module '{module}' that changes results: "
                f'{near_names(module, now)}'
            )
    edited = [m for m, said in now.items() if known.get(m, (1, ''))[1] != said]
    edited += [module for module in known if module not in now]
    left = [m for m in edited if m not in args.different and not args.same]
    if left:
        raise UserError(
            f'{len(left)} modules were edited: {", ".join(left)}. Do they compute the same '
            'as before? Say --same, or name those that do not: --different MODULE'
        )
    for module in edited:
        print(f'{module}: {"different" if module in args.different else "the same"}')
    write_revisions(
        {
            module: (known.get(module, (1, ''))[0] + (module in args.different), said)
            for module, said in now.items()
        }
    )


if __name__ == '__main__':
    main()
