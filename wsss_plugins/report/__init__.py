"""The report: one HTML page of a pipeline's numbers, curves and pictures."""

from wsss_plugins.report.stage import ReportStage

__all__ = ['ReportStage']
