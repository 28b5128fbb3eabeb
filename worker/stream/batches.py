"""How the enrich stage batches: as the settings say, and where they do not, as `polyvox calibrate` has measured."""

from __future__ import annotations

from worker.analysis import batching_file
from worker.settings import Settings
from worker.telemetry import Log, get_logger


def with_measured_batches(settings: Settings, model_version: str) -> Settings:
    """The settings with the values of their batching file, where the environment gives none.

    A file of another model version or engine is passed over with a warning: it decides how fast posts are answered,
    never what the answer is, and a new model must not have to wait for a measurement.

    Raises:
        ConfigInvalid: the file cannot be read, or is no batching file.
    """
    content = batching_file.named(settings)
    if content is None:
        return settings
    file = str(settings.batching_file)
    if why := batching_file.foreign(content, settings, model_version):
        get_logger().warning(Log.BATCHING_PASSED_OVER, file=file, why=why, what_to_do="run `polyvox calibrate`")
        return settings
    taken = batching_file.taken(content, settings)
    get_logger().info(Log.BATCHING_READ, file=file, measured_at=content.measured.at, **taken)
    return settings.model_copy(update=dict(taken))
