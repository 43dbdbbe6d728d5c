#!/usr/bin/env python
"""The command `wsss board` as a script of a checkout."""

from wsss_plugins.command.main import run_alone

if __name__ == '__main__':
    run_alone('board')
