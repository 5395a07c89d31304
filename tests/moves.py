"""The moves by which written files get their names, watched or disturbed."""

from ulmo.storage.open_folder import OpenFolder


def at_moves(patch, action):
    """Call `action(move, source, target)` in place of each move, with its paths; `move()` does it.

    `patch` is a monkeypatch of pytest.
    """
    original = OpenFolder.move

    def moved(folder, old, new, to=None):
        source, target = folder.path / old, (to or folder).path / new
        return action(lambda: original(folder, old, new, to), source, target)

    patch.setattr(OpenFolder, "move", moved)
