"""Files that a reader finds old or new, never half."""

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename; OSError, and nothing left, when that cannot be."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
