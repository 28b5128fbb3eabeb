# syntax=docker/dockerfile:1
# Two images of one checkout: `worker`, and `triton` with what its Python models import.

FROM python:3.12.11-slim-bookworm AS worker
WORKDIR /app
COPY requirements/worker.txt requirements/worker.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/worker.txt
COPY pyproject.toml README.md ./
COPY worker worker
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --system --uid 10001 polyvox
USER polyvox
EXPOSE 8088
ENTRYPOINT ["polyvox"]
CMD ["run"]

FROM nvcr.io/nvidia/tritonserver:25.03-py3 AS triton
WORKDIR /app
COPY requirements/triton-models.txt requirements/triton-models.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/triton-models.txt
COPY worker worker
# Triton's Python stub ignores PYTHONPATH; a path file in site-packages it reads.
RUN python3 -c "import site; open(site.getsitepackages()[0] + '/polyvox.pth', 'w').write('/app')"
