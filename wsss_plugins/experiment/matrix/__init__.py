"""Runs a grid of classifiers, seed heads, refiners and random seeds into one table.

The key of the grid in configs is ``matrix``.
"""

from wsss_plugins.experiment.matrix.plan import Cell, Choice, Plan
from wsss_plugins.experiment.matrix.results import Entry, Table
from wsss_plugins.experiment.matrix.run import MatrixRun
from wsss_plugins.experiment.matrix.tables import write_tables
from wsss_plugins.experiment.matrix.wanted import BEST, Matrix

__all__ = [
    'BEST',
    'Cell',
    'Choice',
    'Entry',
    'Matrix',
    'MatrixRun',
    'Plan',
    'Table',
    'write_tables',
]
