# SPDX-License-Identifier: Apache-2.0
"""Digests of what a file reads as, whatever it stores: a hole and stored zeros are the same."""
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 20


def data_ranges(fd: int) -> Iterator[tuple[int, int]]:
    """The (begin, end) ranges of a file that are not holes, ascending."""
    end = 0
    while True:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # No data from here on.
                return
            raise
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


def data_blocks(fd: int) -> Iterator[int]:
    """The numbers of the blocks of BLOCK bytes that hold any data, ascending, each once."""
    following = 0
    for begin, end in data_ranges(fd):
        first = max(begin // BLOCK, following)
        following = max(-(-end // BLOCK), following)
        yield from range(first, following)


def read_block(fd: int, number: int, room: memoryview) -> memoryview:
    """Block `number` of a file, read into `room`; shorter only at the end of the file."""
    filled = 0
    while filled < len(room):
        count = os.preadv(fd, [room[filled:]], number * BLOCK + filled)
        if count == 0:
            break
        filled += count
    return room[:filled]


def content_digest(path: Path) -> str:
    """A digest of the size of a file and of all its blocks that are not zero, with their places."""
    zeros = bytes(BLOCK)
    room = memoryview(bytearray(BLOCK))
    with open(path, "rb", buffering=0) as stream:
        fd = stream.fileno()
        digest = hashlib.sha256(os.fstat(fd).st_size.to_bytes(8, "little"))
        for number in data_blocks(fd):
            block = read_block(fd, number, room)
            # Comparing the whole buffers compares as memcmp does; only the last block is shorter.
            is_zero = room.obj == zeros if len(block) == BLOCK else not any(block)
            if not is_zero:
                digest.update(number.to_bytes(8, "little"))
                digest.update(block)
    return digest.hexdigest()
