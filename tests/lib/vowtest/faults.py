"""The faults of tests/lib/faults.c for one process: a disk that is small or read-only, syncs that
fail, a clock that jumps. They can be changed while it runs, and are the same after a restart."""

import errno
import mmap
import os
import struct

# The layout of struct control.
CAPACITY, READ_ONLY, SYNC_COUNT, SYNC_FAIL, SYNC_STAYS, CLOCK_MS, REFUSED = range(0, 56, 8)
FOLDER, FOLDER_BYTES, PATTERN, PATTERN_BYTES = 56, 512, 568, 128
CALL_COUNT, CALL_FAIL, CALL_ERROR, CALL_PATTERN, BYTES = 696, 704, 712, 720, 848
KILL = -1
BLOCK = 4096
HOUR_MS = 3600 * 1000


def in_use(folder):
    """What the files of a folder take on a disk."""
    sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()]
    return sum((size + BLOCK - 1) // BLOCK * BLOCK for size in sizes)


class Faults:
    """Give `environment` to the process's starts."""

    def __init__(self, path):
        path.write_bytes(bytes(BYTES))
        with open(path, "r+b") as file:
            self.control = mmap.mmap(file.fileno(), BYTES)
        preload = os.environ["VOW_FAULTS"]
        self.environment = {"LD_PRELOAD": preload, "FAULTS_CONTROL": str(path)}
        self.folder = None
        self.set(CAPACITY, -1)

    def set(self, offset, value):
        struct.pack_into("q", self.control, offset, value)

    def get(self, offset):
        return struct.unpack_from("q", self.control, offset)[0]

    def set_text(self, offset, size, text):
        data = str(text).encode()
        assert len(data) < size, text
        self.control[offset : offset + size] = data.ljust(size, b"\0")

    @property
    def refused(self):
        """How many calls have failed by now."""
        return self.get(REFUSED)

    def small_disk(self, folder, free):
        """Files of the folder may take that much more. None: as much as there is."""
        self.folder = folder.resolve()
        self.set_text(FOLDER, FOLDER_BYTES, self.folder)
        self.set(CAPACITY, -1 if free is None else in_use(folder) + free)

    def refuse_writing(self, folder, error=errno.EROFS):
        """Opening a file of the folder for writing fails so; for root, too."""
        self.set_text(FOLDER, FOLDER_BYTES, folder.resolve())
        self.set(READ_ONLY, error)

    def fail_sync(self, pattern, nth, stays=False):
        """The nth sync from now on of files whose path contains the pattern fails with EIO; stays:
        and all after it. nth 0: none fails, they are counted."""
        self.set(SYNC_FAIL, 0)
        self.set_text(PATTERN, PATTERN_BYTES, pattern)
        self.set(SYNC_COUNT, 0)
        self.set(SYNC_STAYS, int(stays))
        self.set(SYNC_FAIL, nth)

    @property
    def syncs(self):
        return self.get(SYNC_COUNT)

    def fail_call(self, pattern, nth, error=errno.EIO):
        """The nth call from now on that opens or changes a file whose path contains the pattern
        fails with that error; KILL: the process is killed at it. nth 0: none, they are counted.
        """
        self.set(CALL_FAIL, 0)
        self.set_text(CALL_PATTERN, PATTERN_BYTES, pattern)
        self.set(CALL_COUNT, 0)
        self.set(CALL_ERROR, error)
        self.set(CALL_FAIL, nth)

    @property
    def calls(self):
        return self.get(CALL_COUNT)

    def clock(self, hours):
        """The wall clock stands that far from the true one."""
        self.set(CLOCK_MS, int(hours * HOUR_MS))
