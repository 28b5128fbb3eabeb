"""The worker as Faust's command line finds it: `faust -A worker.stream.app worker -l info`."""

from __future__ import annotations

from worker.settings import settings
from worker.stream.build import create_app

app = create_app(settings())
