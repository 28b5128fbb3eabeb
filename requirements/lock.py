"""Pin every dependency, with hashes, for Python 3.11 and newer: `make lock`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = [
    sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
    "--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
]  # fmt: skip
LOCKS = {
    "demo.txt": ["pyproject.toml", "--extra", "demo", "requirements/build.in"],
    "dev.txt": [
        "pyproject.toml", "--extra", "demo", "--extra", "dev", "--extra", "train", "--extra", "parquet",
        "requirements/build.in",
    ],
    "worker.txt": ["pyproject.toml", "requirements/build.in"],
    "triton.txt": ["requirements/triton.in", "--no-deps"],
    "triton-models.txt": ["requirements/triton-models.in", "--no-deps"],
    "bench-faststream.txt": ["requirements/bench-faststream.in"],
    "bench-quix.txt": ["requirements/bench-quix.in"],
}  # fmt: skip

for name, inputs in LOCKS.items():
    subprocess.run([*COMPILE, "--output-file", f"requirements/{name}", *inputs], cwd=HERE.parent, check=True)
    print(f"requirements/{name}")
