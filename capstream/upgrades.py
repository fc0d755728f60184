"""The form of a data folder: checked at every start, brought up to date step by step, or refused with the cure.

`format.json` says which form the stores have. A folder without one is of capstream 0.1. A step changes stores in place and can
be done twice: when a start is cut off in the middle, the next one does the same step again.
"""

import os
from collections.abc import Callable, Mapping

from capstream import __version__
from capstream.kernel import log
from capstream.kernel.errors import InputError
from capstream.kernel.json import JsonError, loads, pretty
from capstream.layout import Layout
from capstream.relay import dead_letters, privacy
from capstream.relay.ledger import weigh_outboxes
from capstream.storage.sqlite import SqliteDocuments

FORMAT = 7


def _find_letters_by_offset(layout: Layout) -> None:
    """Dead letters are found by the offset of their webhook."""
    courier = SqliteDocuments(layout.courier)
    try:
        with courier.transaction() as transaction:
            dead_letters.index_all(transaction)
    finally:
        courier.close()


def _forget_identities_of_no_sandbox(layout: Layout) -> None:
    """Identities that were asked for are kept by sandbox; before, they were by organisation, and outlived a reset."""
    if not layout.control.exists():  # a relay alone
        return
    control = SqliteDocuments(layout.control)
    try:
        with control.transaction() as transaction:
            keys = [key for key, _ in transaction.scan("asked_identities") if "@AdobeOrg/" in key]
            transaction.delete("asked_identities", keys)
    finally:
        control.close()


def _know_outboxes(_layout: Layout) -> None:
    """Dataflows that are behind have an outbox: nothing to change, but an older capstream would leave it undelivered."""


def _find_privacy_requests_by_time(layout: Layout) -> None:
    """Privacy requests are found by their time, those that were met lie apart; dataflows know what their outboxes take."""
    courier = SqliteDocuments(layout.courier)
    try:
        with courier.transaction() as transaction:
            privacy.in_new_form(transaction)
            weigh_outboxes(transaction)
    finally:
        courier.close()


def _make_the_event_index_anew(layout: Layout) -> None:
    """The index knows the org of each webhook: numbers of members are each org's own. The clerk reads the journal again."""
    for suffix in ("-wal", "-shm", ""):  # the file last: without it nothing would tell that the others have to go
        layout.event_index.with_name(f"{layout.event_index.name}{suffix}").unlink(missing_ok=True)


def _number_the_parts_of_logs(_layout: Layout) -> None:
    """Parts of members' logs leave one by one: nothing to change, but an older capstream would look for all of them."""


STEPS: Mapping[int, Callable[[Layout], None]] = {
    1: _find_letters_by_offset,
    2: _forget_identities_of_no_sandbox,
    3: _know_outboxes,
    4: _find_privacy_requests_by_time,
    5: _make_the_event_index_anew,
    6: _number_the_parts_of_logs,
}
"""From each form to the next."""


def bring_up_to_date(layout: Layout) -> list[int]:
    """Return the forms the folder had before each step that was taken; call it before any store is opened.

    Errors: InputError when the folder was written by a newer capstream, or `format.json` cannot be read.
    """
    found = _found(layout)
    if found > FORMAT:
        cure = f"install the capstream that wrote it, or restore a backup made before; this is {__version__}"
        raise InputError(str(layout.data), f"the data folder has form {found}, this capstream knows up to {FORMAT}", cure)
    taken: list[int] = []
    for form in range(found, FORMAT):
        log.info("upgrading the data folder", action="upgrade", form=form, to=form + 1)
        STEPS[form](layout)
        _note(layout, form + 1)
        taken.append(form)
    if not layout.format.exists():
        _note(layout, FORMAT)
    return taken


def _found(layout: Layout) -> int:
    try:
        written = loads(layout.format.read_bytes())
        return int(written["format"])
    except FileNotFoundError:
        return 1 if layout.courier.exists() else FORMAT
    except (JsonError, KeyError, TypeError, ValueError) as error:
        raise InputError(str(layout.format), "it does not say which form the folder has", "restore it from a backup") from error


def _note(layout: Layout, form: int) -> None:
    layout.data.mkdir(parents=True, exist_ok=True)
    draft = layout.format.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(pretty({"format": form, "writtenBy": __version__}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(layout.format)
