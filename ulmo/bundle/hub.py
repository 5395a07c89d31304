"""A bundle in a repository of the Hugging Face hub, fetched by the package huggingface_hub.

    hf://owner/name            as it is now
    hf://owner/name@revision   a branch, a tag or a commit

The first request finds the commit of the revision, and all files are of this commit. A file is
fetched when it is asked for, and stays in the cache of huggingface_hub. So a commit that was read
once is read again without a connection.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from ulmo.bundle.folder import FolderKind
from ulmo.bundle.place import Place
from ulmo.config import UserError, require
from ulmo.config.arguments import HUB

_PART = r"[0-9A-Za-z_][\w.-]{0,95}"
_NAME = re.compile(rf"hf://({_PART}/{_PART})(?:@({_PART}(?:/{_PART}){{0,5}}))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TAG = re.compile(r"[0-9A-Za-z_-]{1,128}")  # names a file in the cache
_ROOM = 1 << 20  # bytes of a download beyond twice what is allowed, before it is ended
_TIMEOUT_S = 10.0  # for the hub's answer to a question
_TRY_AGAIN = "run the same again"
_CHANGED = f"changed while it was read: {_TRY_AGAIN}"


class HubName(NamedTuple):
    """A repository of the hub, and what is wanted of it."""

    repository: str  # owner/name
    revision: str | None  # None: the hub's default branch

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read hf://owner/name[@revision]; UserError for any other text."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise UserError(
                f"{text[:200]!r} names no repository of the hub: write hf://OWNER/NAME, or "
                "hf://OWNER/NAME@REVISION"
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{HUB}{self.repository}" + (f"@{self.revision}" if self.revision else "")


class Hub(Place):
    """The repository at one commit.

    UserError if huggingface_hub is not installed, or if the hub does not give the manifest.
    """

    def __init__(self, name: HubName, kind: FolderKind) -> None:
        require("huggingface_hub")
        from huggingface_hub import constants

        self._repository, self._kind = name.repository, kind
        self._wanted: str | None = name.revision or "main"  # None: the commit is known already
        with _in_one_line(name, kind):
            self._commit = self._commit_of(self._wanted)
        self._name = name._replace(revision=self._commit)
        folder = f"models--{self._repository.replace('/', '--')}"
        super().__init__(
            str(self._name),
            f"remove {Path(constants.HF_HUB_CACHE) / folder} and try again; if that does not help, "
            "tell the author of the repository",
        )

    def file(self, name: str, most: int) -> Path:
        """The file, from the cache or the hub. UserError if it is longer than `most`."""
        from huggingface_hub import hf_hub_download

        path = self._cached(name, self._commit)
        # The manifest is asked for by the revision: so the cache learns which commit that was.
        revision = self._wanted if name == self._kind.manifest else None
        if path is None or revision is not None:
            with _in_one_line(self._name, self._kind, name):
                if path is None:
                    self._ask(name, self._commit, most)
                found = hf_hub_download(
                    self._repository,
                    name,
                    revision=revision or self._commit,
                    tqdm_class=_counting(most, lambda size: self._too_long(name, size, most)),
                )
            path = Path(found)
            if path.parent.name != self._commit:
                raise UserError(f"{self._name} {_CHANGED}")
        # A link to the content, which the user's own cache holds.
        self.paths[name] = path = path.resolve()
        return path

    def _commit_of(self, revision: str) -> str:
        """The commit to read: that of the cache if it is named in full or the hub is out of reach.

        Raises the errors of huggingface_hub.
        """
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

        manifest = self._kind.manifest
        if _COMMIT.fullmatch(revision) and self._cached(manifest, revision):
            self._wanted = None
            return revision
        try:
            return self._ask(manifest, revision)
        except HfHubHTTPError:
            raise
        except (HTTPError, OfflineModeIsEnabled):
            if path := self._cached(manifest, revision):
                self._wanted = None
                return path.parent.name
            raise

    def _cached(self, name: str, revision: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self._repository, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    def _ask(self, name: str, revision: str, most: int | None = None) -> str:
        """The commit of a file at a revision; UserError if the file is longer than `most`."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(self._repository, name, revision=revision)
        found = get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        if not (_COMMIT.fullmatch(found.commit_hash or "") and _TAG.fullmatch(found.etag or "")):
            raise UserError(f"{url} does not answer as the hub does: look at HF_ENDPOINT")
        if most is not None and (found.size is None or found.size > most):
            raise self._too_long(name, found.size, most)
        return str(found.commit_hash)

    def _too_long(self, name: str, size: float | None, most: int) -> UserError:
        found = "an unknown number of" if size is None else f"{size:.0f}"
        return UserError(
            f"{self._name}/{name} has {found} bytes, not {most} or fewer: tell its author"
        )


def _counting(most: int, too_long: Callable[[float], UserError]) -> type[Any]:
    """A silent progress bar that ends a download that goes on far behind `most` bytes.

    The hub's own protocol, Xet, may transfer more bytes than the file has. So there is room; the
    exact length is checked when the file is read.
    """
    from tqdm import tqdm

    class Counting(tqdm):  # type: ignore[misc]  # tqdm has no types
        received = 0.0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += n or 0
            if self.received > 2 * most + _ROOM:
                raise too_long(self.received)
            return None

    return Counting


@contextmanager
def _in_one_line(name: HubName, kind: FolderKind, file: str = "") -> Iterator[None]:
    """UserError instead of the errors of huggingface_hub.

    file: it is one of a commit that had a manifest; otherwise the manifest is asked for.
    """
    from huggingface_hub import errors

    xet_error = getattr(errors, "XetDownloadError", RuntimeError)  # none in older versions
    try:
        yield
    except errors.GatedRepoError:
        raise UserError(
            f"{name} asks you to agree to its terms: do so on its page, then log in with "
            "'hf auth login'"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{name}: the hub has no such repository, or it is private: check the name, or log in "
            "with 'hf auth login'"
        ) from None
    except errors.RevisionNotFoundError:
        if file:
            raise UserError(f"{name} {_CHANGED}") from None
        raise UserError(f"{name}: the repository has no such revision: check it") from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise UserError(f"{name}: the hub cannot be reached: {_TRY_AGAIN}") from None
        if file:
            raise UserError(f"{name} lacks {file}: tell its author") from None
        raise UserError(f"{name} is not {kind.article}: it has no {kind.manifest}") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise UserError(f"{name}: the hub answers with an error ({status}): try later") from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise UserError(
            f"{name}: the hub cannot be reached ({type(error).__name__}): connect this computer to "
            "the internet, or name a copy of the bundle on this disk"
        ) from None
    except errors.HFValidationError:
        raise UserError(f"{name} names no repository of the hub: check the name") from None
    except (OSError, RuntimeError, xet_error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of this disk
            raise
        raise UserError(f"{name}: {file} did not arrive whole: {_TRY_AGAIN}") from None
