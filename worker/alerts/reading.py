"""What indexes and detectors are set to: the model's matrices, and what is declared of alerts."""

from __future__ import annotations

from worker.analysis.bundle import Bundle
from worker.errors import ConfigInvalid, ModelInvalid
from worker.opinion.index.correction import Confusions, Counts
from worker.opinion.shifts.limits import Limits
from worker.settings import Settings
from worker.telemetry import Log, get_logger

UNCORRECTED: Counts = ((1000, 0, 0, 0), (0, 1000, 0, 0), (0, 0, 1000, 0))
"""For a model that was published without matrices: labels are taken as they are."""


def limits_of(settings: Settings) -> Limits:
    """What is declared of alerts."""
    return Limits(
        false_alerts_per_day=settings.alert_false_per_day,
        window_s=settings.alert_window_s,
        minimum_posts=settings.alert_min_posts,
        minimum_completeness=settings.alert_min_complete,
        warm_up_s=settings.alert_warm_up_s,
        cool_down_s=settings.alert_cool_down_s,
    )


def confusions_of(settings: Settings) -> Confusions:
    """The matrices that were published with the model; without them, labels are taken as they are, with a warning."""
    try:
        found = Bundle.load(settings.bundle_dir).calibration.confusions
        why = "the model was published without confusion matrices"
    except (ConfigInvalid, ModelInvalid) as error:  # a worker that only aggregates may have no model beside it
        found, why = (), str(error)
    if not found:
        get_logger().warning(Log.INDEX_UNCORRECTED, error=why)
        return Confusions.of([("", "social", UNCORRECTED, True)])
    return Confusions.of([(each.language, each.domain, each.counts, each.pooled) for each in found])
