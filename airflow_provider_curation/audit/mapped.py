"""Memory for answers and pages that goes back to the system at once when it is freed.

malloc gives each thread an arena of its own. glibc returns only the end of an arena, and only when it exceeds twice the
largest block that the process has freed so far. Threads that take turns with buffers of megabytes, and keep something
small of each, come to hold many times what is in use, and more with every page. A mapping is returned whole, whichever
thread drops it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Final

#: Of a mapping that is not shared with forked processes.
_FLAGS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
#: Room for a page of usual events. Only what is written takes memory.
_FIRST_BYTES: Final = 1792 * 1024


class Mapping(mmap.mmap):
    """Private memory of a fixed size.

    :raises MemoryError: if there is too little.
    """

    def __new__(cls, size: int) -> Mapping:
        try:
            return super().__new__(cls, -1, size, flags=_FLAGS)
        except OSError as error:
            raise MemoryError(f"{size} bytes could not be mapped ({error.strerror})") from error


def collected(chunks: Iterable[bytes]) -> memoryview:
    """Return the bytes of all chunks, in one piece.

    :raises MemoryError: if there is too little.
    """
    mapping, size = Mapping(_FIRST_BYTES), 0
    for chunk in chunks:
        end = size + len(chunk)
        if end > len(mapping):
            larger = Mapping(max(2 * len(mapping), end))
            with memoryview(mapping) as view:
                larger.write(view[:size])
            mapping.close()
            mapping = larger
        mapping[size:end] = chunk
        size = end
    return memoryview(mapping)[:size]
