"""What the site needs besides docs/: pages that stand elsewhere in the repository, and links to and from them.

Nothing is copied: MkDocs reads these files where they are. A link that leads to a source file is shown as its text, for
the site has no sources.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "quick-start.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "results/study2/README.md": "study/design.md",
    "results/study2/resnet56/figures/anytime_evaluations.svg": "study/anytime.svg",
    "results/reference/README.md": "study/README.md",
    "results/reference/resnet56/figures/anytime_evaluations.svg": "study/anytime_evaluations.svg",
}
"""Files of the repository by their paths, and their addresses in the site."""
_HOMES = {address: path for path, address in ELSEWHERE.items()}
_LINK = re.compile(r"(?P<shown>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere."""
    for path, address in ELSEWHERE.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links, which lead from file to file of the repository, into those of the site."""
    here = _HOMES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def turned(link: re.Match[str]) -> str:
        target = link["target"]
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        address = _address(posixpath.normpath(posixpath.join(posixpath.dirname(here), target)))
        if files.get_file_from_path(address) is None and not address.startswith("docs/"):
            return link["shown"].lstrip("!")[1:-1]
        leads = posixpath.relpath(address, posixpath.dirname(page.file.src_uri) or ".")
        return f"{link['shown']}({leads}{link['anchor'] or ''})"

    pieces = _CODE.split(markdown)
    return "".join(piece if piece.startswith("`") else _LINK.sub(turned, piece) for piece in pieces)


def _address(path: str) -> str:
    """The address in the site of a file of the repository."""
    return ELSEWHERE.get(path, path.removeprefix("docs/"))
