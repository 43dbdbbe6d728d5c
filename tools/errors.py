#!/usr/bin/env python
"""The command `wsss errors` as a script of a checkout."""

from wsss_plugins.command.main import run_alone

if __name__ == '__main__':
    run_alone('errors')
