"""The report: one HTML page of a pipeline's numbers, curves and pictures; and tables of runs."""

from wsss_plugins.report.stage import ReportStage
from wsss_plugins.report.tables import ResultsTable, results_table

__all__ = ['ReportStage', 'ResultsTable', 'results_table']
