"""Pages of results: the report of a pipeline, the errors of label maps; and tables of runs."""

from wsss_plugins.report.error_stage import ErrorStage
from wsss_plugins.report.stage import ReportStage
from wsss_plugins.report.tables import ResultsTable, results_table

__all__ = ['ErrorStage', 'ReportStage', 'ResultsTable', 'results_table']
