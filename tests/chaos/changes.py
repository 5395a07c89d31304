"""What may befall recordings while jobs read them."""

import os
from collections import Counter

from tests.chaos.jobs import name_of
from tests.pipelines.recordings import noise, write

LONGEST = 8000  # samples: two seconds
FEWEST, MOST = 3, 9  # recordings in a folder


class Changes:
    """Changes recordings of some folders at random; every change is counted by its name."""

    def __init__(self, folders, rng):
        self._folders = folders
        self._rng = rng
        self._swapped = {}  # recordings that will come back, and where they are meanwhile
        self.counts = Counter()

    def one(self):
        """Make one change, and return what it was."""
        folder = self._rng.choice(self._folders)
        paths = sorted(folder.glob("*.wav"))
        change = self._rng.choice(
            [self._append, self._rewrite, self._replace, self._truncate, self._touch, self._swap]
            + [self._add] * (len(paths) < MOST)
            + [self._remove] * (len(paths) > FEWEST)
        )
        name, path = change.__name__.strip("_"), self._rng.choice(paths)
        change(path)
        self.counts[name] += 1
        if self._swapped and self._rng.random() < 0.5:
            self._swap_back()
        return f"{folder.name}/{path.name}: {name}"

    def rest(self):
        """Bring back what was put elsewhere: now nothing changes any more."""
        while self._swapped:
            self._swap_back()

    def _samples(self):
        return noise(self._rng.randrange(40, LONGEST), self._rng.randrange(1 << 30))

    def _append(self, path):
        with path.open("ab") as file:
            file.write(self._rng.randbytes(400))

    def _rewrite(self, path):
        """Other samples in its second half, in place."""
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size // 2)
            file.write(self._rng.randbytes(size - size // 2))

    def _replace(self, path):
        new = path.with_suffix(".new")
        write(new, self._samples())
        new.replace(path)

    def _truncate(self, path):
        """To a part, to half a header or to nothing."""
        size = path.stat().st_size
        os.truncate(path, self._rng.choice([size * 2 // 3, 20, 0]))

    def _touch(self, path):
        os.utime(path)

    def _add(self, path):
        free = [path.with_name(name_of(number)) for number in range(2 * MOST)]
        write(self._rng.choice([each for each in free if not each.exists()]), self._samples())

    def _remove(self, path):
        path.unlink()

    def _swap(self, path):
        """Another recording has its name for a while; then it comes back as it was."""
        kept = path.with_suffix(f".kept{len(self._swapped)}")
        if path not in self._swapped.values() and not kept.exists():
            path.rename(kept)
            write(path, self._samples())
            self._swapped[kept] = path

    def _swap_back(self):
        kept = self._rng.choice(sorted(self._swapped))
        kept.replace(self._swapped.pop(kept))
