"""Say in one line what is wrong with this Python, before anything is installed; runs on any Python 3."""

import platform
import sys

problem = None
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    problem = (
        f"the packaged servers need Python 3.11 or 3.12, this is {platform.python_version()}: "
        "run `make PYTHON=python3.12 ...`"
    )
elif sys.platform != "linux" or platform.machine() != "x86_64":
    problem = (
        f"the packaged servers exist for Linux on x86-64 only, this is {platform.system()} on {platform.machine()}: "
        "use docker-compose.yml"
    )
else:
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        problem = "this Python cannot make virtual environments: install its venv package (python3-venv on Debian)"
if problem:
    sys.exit("polyvox: " + problem)
