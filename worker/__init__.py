"""polyvox: multilingual posts in, opinion one can act on out."""

import os

__version__ = "0.1.0"

# onnxruntime's wheels for Linux report to their maker since 1.29, unless this stands there before they are loaded (its
# pull requests 27379 and 29843). A worker that reads people's posts talks to nobody it was not told to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
