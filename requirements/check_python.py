"""Say in one line what is wrong with this Python, before anything is installed; runs on any Python 3."""

import platform
import sys

problem = None
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    problem = "the packaged servers need Python 3.11 or 3.12, this is {}: run `make PYTHON=python3.12 ...`".format(
        platform.python_version()
    )
elif sys.platform != "linux" or platform.machine() != "x86_64":
    problem = "the packaged servers exist for Linux on x86-64 only, this is {} on {}: use docker-compose.yml".format(
        platform.system(), platform.machine()
    )
else:
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        problem = "this Python cannot make virtual environments: install its venv package (python3-venv on Debian)"
if problem:
    sys.exit("polyvox: " + problem)
