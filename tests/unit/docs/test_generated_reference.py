"""The documentation says what the code says: generated pages are fresh, hand-written tables whole, links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from capstream.credentials import Credentials
from capstream.relay.admin import Admin
from capstream.relay.audit import Audit
from capstream.relay.dead_letters import DeadClass
from capstream.relay.drift_desk import DriftDesk
from capstream.relay.eraser import Eraser, Pace
from capstream.relay.event_index import FACETS, EventBrowser
from capstream.relay.parked_desk import ParkedDesk
from capstream.relay.preview import Preview
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.storage.key_file import read_keys
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ANCHOR = re.compile(r"[^\w\- ]")


def test_generated_pages_are_up_to_date() -> None:
    command = [sys.executable, "-m", "docs.generate", "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run `.venv/bin/python -m docs.generate`"


def first_cells(page: str) -> list[str]:
    """The code in the first cell of every table row."""
    return re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "reference" / page).read_text(), re.MULTILINE)


def test_every_key_of_the_credentials_is_explained() -> None:
    assert first_cells("credentials.md") == [each.name for each in fields(Credentials)]


def test_every_class_of_dead_letters_is_explained() -> None:
    assert set(DeadClass) <= set(first_cells("webhook-answers.md"))


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    courier, documents = (SqliteDocuments(tmp_path / name) for name in ("courier.db", "sources.db"))
    log = SqliteLog(tmp_path / "journal.db")
    sources = Sources(documents, Vault(*read_keys(tmp_path / "vault.key")))
    audit = Audit(documents, lambda: 0)
    stores = {"courier": courier, "finds": documents, "clock": lambda: 0, "pace": Pace, "digest": bytes, "audit": audit}
    eraser = Eraser(log, documents, **stores)  # type: ignore[arg-type]
    yield Admin(
        journal=log,
        courier=courier,
        sources=sources,
        verify=lambda *_: True,
        clock=lambda: 0,
        status_now=dict,
        browser=EventBrowser(log, courier, SqliteIndex(tmp_path / "events.db", FACETS)),
        preview=Preview(log, courier, sources),
        audit=Audit(documents, lambda: 0),
        drift=DriftDesk(documents, documents, lambda: 0),
        parked=ParkedDesk(courier, log, lambda: 0),
        change_key=lambda: 0,
        privacy=PrivacyDesk(courier, documents, eraser, lambda: 0, lambda: 7.0),
    )
    courier.close()
    documents.close()
    log.close()


def test_every_endpoint_of_the_relay_is_explained(admin: Admin) -> None:
    served = {
        f"{method} {route.path}"  # type: ignore[attr-defined]
        for route in admin.app().routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    explained = {cell for cell in first_cells("endpoints.md") if " /relay/" in cell}
    assert explained == served


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {ANCHOR.sub("", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#][^)]*|#[^)]*)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_tree_of_the_architecture_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text[text.index("## The tree") : text.index("A service folder has")]
    named = re.findall(r"^\| `([^`]+)` \|", tree, re.MULTILINE)
    assert len(named) > 30
    assert [path for path in named if not any((start / path).exists() for start in (ROOT / "capstream", ROOT))] == []
