"""The board: a local page of all work dirs, live while they run.

It reads records, configs and logs of the work dirs, asks nothing of the runs, and writes
nothing.
"""

from wsss_plugins.board.server import Board, serve

__all__ = ['Board', 'serve']
