"""What MkDocs does for the site of ulmo besides its own; named in mkdocs.yml.

- The navigation follows from docs/README.md: its headings, and the pages in the order of its links.
- Pages link to files outside docs/, as they do on the disk. Each such file becomes a part of the
  site, in `repository/`; a notebook becomes the page that `make notebooks` made of it.
- The build fails if a page or a style sheet would load anything from another computer.
"""

import posixpath
import re
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
EXECUTED = ROOT / "build" / "notebooks"
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FOREIGN = re.compile(
    r"""<(?:script|img|iframe|audio|video|source|embed)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'\s>]*
    |<link\b(?=[^>]*\srel=["']?(?:stylesheet|preload|icon|preconnect|manifest))[^>]*(?:https?:)?//[^>]*
    |url\(\s*["']?(?:https?:)?//[^)]*|@import\s+["'](?:https?:)?//[^"']*""",
    re.VERBOSE,
)


def on_config(config: Any) -> Any:
    """Make the navigation of docs/README.md: a section for each heading, its links below it."""
    index = (ROOT / DOCS / "README.md").read_text(encoding="utf-8")
    seen: set[str] = set()
    nav: list[Any] = [{"Start": "README.md"}]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        pages: list[Any] = []
        for words, link, _ in LINK.findall(section):
            page = place_of(posixpath.normpath(DOCS + link))
            if page.endswith(".md") and page not in seen:
                pages.append({words: page} if page.startswith("repository/") else page)
                seen.add(page)
        if pages:
            nav.append({section.partition("\n")[0]: pages})
    config.nav = nav
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add every file outside docs/ that a page links to, and those that they link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        source = source_of(waiting.pop())
        for target in targets(source, (ROOT / source).read_text(encoding="utf-8")):
            place = place_of(target)
            if target.startswith(DOCS) or files.get_file_from_path(place):
                continue
            if target.endswith(".ipynb"):
                for path in sorted(EXECUTED.glob(f"{Path(target).stem}*/*")):
                    uri = f"notebooks/{path.relative_to(EXECUTED).as_posix()}"
                    files.append(File.generated(config, uri, abs_src_path=str(path)))
                page = EXECUTED / f"{Path(target).stem}.md"
                if not page.is_file():
                    raise PluginError(f"{target} was not executed yet: run `make notebooks`")
                files.append(File.generated(config, place, abs_src_path=str(page)))
            elif (ROOT / target).is_file():
                files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
                waiting += [place] if place.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to where the files are in the site."""
    place = page.file.src_uri
    source = source_of(place)

    def moved(found: re.Match[str]) -> str:
        words, link, anchor = found.groups()
        if ":" in link:
            return found[0]
        target = place_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), link)))
        moved_link = posixpath.relpath(target, posixpath.dirname(place) or ".")
        return f"[{words}]({moved_link}{anchor or ''})"

    code = FENCED.findall(markdown)
    words = [LINK.sub(moved, part) for part in FENCED.split(markdown)]
    return "".join(chain.from_iterable(zip_longest(words, code, fillvalue="")))


def on_post_build(config: Any) -> None:
    """Fail if anything of the site would be loaded from elsewhere."""
    site = Path(config.site_dir)
    for path in sorted(path for path in site.rglob("*") if path.suffix in {".html", ".css"}):
        if found := FOREIGN.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path} loads from another computer: {found[0][:200]}")


def place_of(path: str) -> str:
    """Where a file of the repository is in the site, below its root."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if path.startswith("notebooks/"):
        return re.sub(r"\.ipynb$", ".md", path)
    return f"repository/{path}"


def source_of(place: str) -> str:
    """The inverse of `place_of`."""
    if place.startswith("repository/"):
        return place.removeprefix("repository/")
    if place.startswith("notebooks/"):
        return re.sub(r"\.md$", ".ipynb", place)
    return DOCS + place


def targets(source: str, text: str) -> list[str]:
    """The files of the repository to which a page links."""
    folder = posixpath.dirname(source)
    links = (link for _, link, _ in LINK.findall(FENCED.sub("", text)))
    return [posixpath.normpath(posixpath.join(folder, link)) for link in links if ":" not in link]
