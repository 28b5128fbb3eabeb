"""Which `Inference` the settings ask for."""

from __future__ import annotations

from worker.analysis.bundle import Bundle
from worker.analysis.inference import Inference
from worker.analysis.triton import TritonAddress, TritonInference
from worker.settings import Settings


def make_inference(settings: Settings, bundle: Bundle) -> Inference:
    """The engine of `POLYVOX_INFERENCE`; `auto` is Triton, since a worker can wait for its server.

    Call inside the event loop that will use it.
    """
    if settings.inference == "embedded":
        from worker.analysis.embedded import EmbeddedInference  # noqa: PLC0415 - onnxruntime: 0.1 s and 17 MB

        return EmbeddedInference(bundle, settings.triton_timeout_s)
    address = TritonAddress(settings.triton_url, settings.triton_tls, settings.triton_ca_file)
    return TritonInference(bundle, address, settings.triton_timeout_s, settings.batch_posts)
