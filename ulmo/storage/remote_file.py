"""An object of a store, opened to be read: few of its bytes are in memory at a time.

Where it is read in order, the next part is fetched meanwhile. What has been read is kept for the
next one who opens the same object, within _MOST_BYTES of this process: a recording is opened
several times, by who reads its header, its log and its sound. Where no part can be asked for (a
compressed archive, a web server without ranges), the whole object is fetched to a temporary file
without a name, which goes with this process or after two others. Where the store gives no version
of an object, what was read goes when the file is closed.
"""

import errno
import io
import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from functools import cache
from itertools import count
from tempfile import TemporaryFile
from threading import RLock
from typing import IO, Any

from ulmo.storage.address import ARCHIVES, whole
from ulmo.storage.remote_path import RemotePath
from ulmo.storage.signature import ChangedError, Signature
from ulmo.storage.store_answers import Object, StoreError, reaching

_BLOCK = 1 << 16
_MOST_BLOCKS = 64  # of one request: those of sound read in order; of others, one
_MOST_BYTES = 32 << 20  # kept in this process
_MOST_COPIES = 2  # besides those of open files
_MOST_COPY = 16 << 30  # bytes
_KEPT_FREE = 1 << 30  # bytes of the disk of copies, or a twentieth of it

# The address, its signature, and a number of its own where the store gives no version: then what
# one open file has read is of no use to another.
_Key = tuple[str, Signature, int]
_blocks: OrderedDict[tuple[_Key, int], bytes] = OrderedDict()  # the latest used last
_copies: OrderedDict[_Key, IO[bytes]] = OrderedDict()
_lock = RLock()
_numbers = count(1)
_archive_lock = RLock()  # the files of a tar archive share one place in one open file


@cache
def _ahead_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, "ulmo-ahead")


def _room(copy: IO[bytes]) -> int:
    """How long a copy may become: some of its disk stays free for others."""
    disk = os.fstatvfs(copy.fileno())
    kept = min(_KEPT_FREE, disk.f_blocks * disk.f_frsize // 20)
    return min(_MOST_COPY, copy.tell() + disk.f_bavail * disk.f_frsize - kept)


class RemoteFile(io.RawIOBase):
    """An open object. It gives all the bytes asked for: only its end cuts a read short.

    Raises ChangedError if it is another object by now, and StoreError if the store does not answer.
    """

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        self._place = 0
        self._next = -1  # the block behind the latest that were fetched
        self._count = 1  # blocks to fetch at once
        self._unchecked = False  # whether something was fetched since the store was asked
        self._file: Any = None  # of a web server
        self._ahead: Future[bytes] | None = None  # blocks from `_next` on
        self._whole: IO[bytes] | None = None  # a copy, once it was made
        found = self._look()
        self._own = 0 if found.version else next(_numbers)
        self._key: _Key = (whole(str(path)), found.signature, self._own)
        if found.size is None:
            found = found._replace(size=os.fstat(self._copy().fileno()).st_size)
        self._found = found

    def _look(self) -> Object:
        found = self._path.look()
        if found.is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        return found

    def signature(self) -> Signature:
        """Signature, which changes with the object: the store is asked if it was read since."""
        if self._unchecked:
            found = self._look()
            if found.size is None:
                found = found._replace(size=self._found.size)
            self._unchecked = False
            return found.signature
        return self._found.signature

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The present place."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but for the end of the object."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """All from the present place on."""
        return self.read()

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        left = max(self._size - self._place, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted > 0:
            number, begin = divmod(self._place, _BLOCK)
            part = self._block(number)[begin : begin + wanted]
            parts.append(part)
            self._place += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the connection."""
        self._let_go()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._whole = None
        if self._own:
            with _lock:
                _copies.pop(self._key, None)
                for block in [each for each in _blocks if each[0] == self._key]:
                    del _blocks[block]
        super().close()

    @property
    def _size(self) -> int:
        return self._found.size or 0

    def _block(self, number: int) -> bytes:
        """A block, from memory or from the store, which is then asked for more and more."""
        with _lock:
            if (known := _blocks.get((self._key, number))) is not None:
                _blocks.move_to_end((self._key, number))
                return known
        is_next = number == self._next
        count = self._count = min(2 * self._count, _MOST_BLOCKS) if is_next else 1
        if is_next and self._ahead is not None:
            content = self._ahead.result()
        else:
            self._let_go()
            content = self._fetch(number, count)
        self._ahead = None
        self._unchecked = True
        if len(content) != min(count * _BLOCK, self._size - number * _BLOCK):
            raise self._cut()
        self._next = number + count
        if count == _MOST_BLOCKS and self._next * _BLOCK < self._size:
            self._ahead = _ahead_pool().submit(self._fetch, self._next, count)
        with _lock:
            for place in range(0, len(content), _BLOCK):
                _blocks[self._key, number + place // _BLOCK] = content[place : place + _BLOCK]
            while len(_blocks) * _BLOCK > _MOST_BYTES:
                _blocks.popitem(last=False)
        return content[:_BLOCK]

    def _let_go(self) -> None:
        """Wait for what is fetched ahead: a connection takes one request at a time."""
        if self._ahead is not None and not self._ahead.cancel():
            wait([self._ahead])
        self._ahead = None

    def _fetch(self, number: int, count: int) -> bytes:
        """So many blocks, from one on."""
        start = number * _BLOCK
        end = min(start + count * _BLOCK, self._size)
        with _lock:
            copy = self._whole or _copies.get(self._key)
        if copy is None:
            if (found := self._part(start, end)) is not None:
                return found
            copy = self._copy()
        return os.pread(copy.fileno(), end - start, start)

    def _part(self, start: int, end: int) -> bytes | None:
        """A part of the object; None where no part can be asked for."""
        if self._path.protocol in ARCHIVES:
            return None
        system, name = self._path.store()
        with reaching(self._path):
            if self._path.has_neighbours:
                return bytes(system.cat_file(name, start=start, end=end))
            if self._file is None:
                self._file = system.open(name, "rb", block_size=_BLOCK, cache_type="none")
            if self._file.size is not None:
                self._file.seek(start)
                with suppress(ValueError):  # a web server without ranges
                    return bytes(self._file.read(end - start))
        return None

    def _copy(self) -> IO[bytes]:
        """The whole object in a file without a name, which stays until this one is closed."""
        with _archive_lock if self._path.protocol in ARCHIVES else nullcontext():
            self._whole = self._spooled()
        return self._whole

    def _spooled(self) -> IO[bytes]:
        with _lock:
            if self._key in _copies:
                _copies.move_to_end(self._key)
                return _copies[self._key]
        system, name = self._path.store()
        self._unchecked = True
        copy = TemporaryFile()  # noqa: SIM115
        options = {} if self._path.has_neighbours else {"block_size": 0}  # in order, not in parts
        with reaching(self._path), system.open(name, "rb", **options) as file:
            while part := file.read(_MOST_BLOCKS * _BLOCK):
                if copy.tell() + len(part) > _room(copy):
                    why = "no end of it comes, or there is no room for a copy"
                    raise StoreError(errno.EFBIG, why, str(self._path))
                copy.write(part)
        copy.flush()
        with _lock:
            _copies[self._key] = copy
            while len(_copies) > _MOST_COPIES:
                _copies.popitem(last=False)
        return copy

    def _cut(self) -> OSError:
        self._unchecked = True
        if self.signature() != self._found.signature:
            return ChangedError(errno.ESTALE, "the file was changed while it was read")
        return OSError(errno.EIO, "the store gives fewer bytes than the object has")
