"""Where tests put their files: in memory, if there is room. Nothing that they promise depends on a real disk."""

import shutil
from pathlib import Path


def memory(room_bytes: int = 64 << 20) -> Path | None:
    """A folder in memory with so much room; None where the system has none."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free >= room_bytes else None
