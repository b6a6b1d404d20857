"""A suite, and how it gets to where it runs: download, unpack, convert."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

# What was downloaded and converted; nothing in it is committed.
CACHE = Path(__file__).parents[2] / ".cache" / "original"

# Bytes; the largest of the distributions has a twentieth of that.
LARGEST_DOWNLOAD = 1_000_000


@dataclass(frozen=True)
class Edit:
    """One change to the text of the original tests. It has to find its pattern, so that no table goes stale."""

    #: A regular expression.
    pattern: str
    replacement: str
    reason: str
    #: The file; every file of the suite unless given.
    file: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A test or a file that cannot mean anything here."""

    #: A file's name, or ``Class::test``.
    name: str
    reason: str


@dataclass(frozen=True)
class Suite:
    """The tests of one distribution, and what it takes to run them on Python 3."""

    distribution: str
    version: str
    sha256: str
    #: The package that they test, in whose folder ``tests`` they are.
    package: str
    edits: tuple[Edit, ...]
    left_out: tuple[LeftOut, ...]
    #: How many tests pass, so that none is lost unnoticed.
    tests: int

    def prepare(self) -> Path:
        """Return the folder that holds the converted suite."""
        folder = CACHE / self.distribution
        shutil.rmtree(folder, ignore_errors=True)
        tests = folder / self.package / "tests"
        tests.mkdir(parents=True)
        # Not imported: it tells pytest that `tests` is inside the package.
        (folder / self.package / "__init__.py").touch()
        found: set[Edit] = set()
        for name, original in self._originals().items():
            converted = original
            for edit in self.edits:
                if edit.file in ("", name):
                    before = converted
                    converted = re.sub(edit.pattern, edit.replacement, before)
                    if converted != before:
                        found.add(edit)
            (tests / name).write_text(converted, encoding="utf-8")
        idle = [edit.pattern for edit in self.edits if edit not in found]
        if idle:
            raise AssertionError(f"{self.distribution}: these edits found nothing to change: {idle}")
        return folder

    def deselected(self) -> list[str]:
        """Return the tests that are not to be run."""
        return [each.name for each in self.left_out if "::" in each.name]

    def _originals(self) -> dict[str, str]:
        left_out = {each.name for each in self.left_out}
        files: dict[str, str] = {}
        with tarfile.open(fileobj=io.BytesIO(self._download()), mode="r:gz") as archive:
            for member in archive.getmembers():
                folder, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isfile() else None
                if content and folder.endswith(f"/{self.package}/tests") and name not in left_out:
                    files[name] = content.read().decode("utf-8")
        return files

    def _download(self) -> bytes:
        name = f"{self.distribution}-{self.version}.tar.gz"
        kept = CACHE / name
        if kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == self.sha256:
            return kept.read_bytes()
        page_url = f"{_index().rstrip('/')}/{self.distribution}/"
        page = _fetch(page_url).decode("utf-8")
        links = re.findall(r'href="([^"]+)"', page)
        link = next((each for each in links if each.split("#")[0].endswith(f"/{name}")), None)
        if link is None:
            raise OSError(f"the package index has no {name}")
        content = _fetch(urllib.parse.urljoin(page_url, link.split("#")[0].replace("&amp;", "&")))
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise AssertionError(f"{name} is not the file that was published in its day")
        CACHE.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        return content


def _index() -> str:
    """Return the address of the package index that pip uses."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "https://pypi.org/simple"


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read(LARGEST_DOWNLOAD)
        return content
