"""What `polyvox calibrate` could have written."""

from __future__ import annotations

from worker.analysis.batching_file import BatchingFile, Figures, Measured

MODEL = "analyzer:1.2.0+280a5ec9"
VALUES = {"batch_posts": 64, "batch_tokens": 8192, "batches_in_flight": 8}


def content_of(values: dict[str, int] = VALUES, model: str = MODEL, engine: str = "triton") -> BatchingFile:
    figures = Figures(
        **values,
        runs=3,
        min_posts_per_s=1.0,
        median_posts_per_s=2.0,
        max_posts_per_s=3.0,
        p95_ms=4.0,
        padded_per_real=1.05,
    )
    measured = Measured(
        model="analyzer",
        model_version=model,
        inference=engine,
        server="triton:8001",
        processor="any",
        at="2026-11-29T09:00:00+00:00",
        texts="posts.jsonl",
        latency_ms=500.0,
        figures=(figures,),
    )
    return BatchingFile(**values, measured=measured)
