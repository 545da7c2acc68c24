"""Reports: the result of a run as one HTML page."""

from dataloader.report.batches import batches_report
from dataloader.report.documents import NotedDocument, matter
from dataloader.report.drill import answers as drill_answers
from dataloader.report.drill import drill_report
from dataloader.report.facts import Run, described, facts, stopped
from dataloader.report.load import load_report, plan_report
from dataloader.report.merge import merge_report
from dataloader.report.model import History, Moment, Report
from dataloader.report.notes import Noted, about
from dataloader.report.reconcile import reconcile_report
from dataloader.report.render import render
from dataloader.report.revoke import revoke_report
from dataloader.report.status import status_report
from dataloader.report.taps import taps_report
from dataloader.report.verify import verify_report

__all__ = [
    "History",
    "Moment",
    "Noted",
    "NotedDocument",
    "Report",
    "Run",
    "about",
    "batches_report",
    "described",
    "drill_answers",
    "drill_report",
    "facts",
    "load_report",
    "matter",
    "merge_report",
    "plan_report",
    "reconcile_report",
    "render",
    "revoke_report",
    "status_report",
    "stopped",
    "taps_report",
    "verify_report",
]
