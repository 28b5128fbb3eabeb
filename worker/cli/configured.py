"""The settings, for commands: they are read, and what reads them imported, when a command runs.

The import takes longer than all else that `polyvox --help` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.settings import Settings


def settings() -> Settings:
    """As `worker.settings.settings`."""
    from worker.settings import settings as read

    return read()
