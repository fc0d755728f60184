"""What is left of a deleted dataset goes: its table, fragments, events and counts. Source: catalog.md 5 (ASSUMPTION throughout).

Identities and their links stay: other datasets may have seen them as well. Records of a deleted dataset that
come later are rejected, so nothing makes its table anew.
"""

from collections.abc import Callable

from capstream.aep.catalog.lake import lake_table
from capstream.aep.catalog.model import Datasets
from capstream.aep.observability_insights import series
from capstream.aep.profile import deletion
from capstream.kernel import log
from capstream.storage.ports import Documents

CLEANED = "cleaned_datasets"  #: {sandbox}/{dataset} -> empty
_AT_ONCE = 5000

_Place = tuple[str, str]


class Cleaning:
    """Cleans up after deleted datasets, a piece at a time."""

    def __init__(self, control: Documents, state: Documents, drop: Callable[[str], None]) -> None:
        """`drop` deletes a table of the lake."""
        self._datasets = Datasets(control)
        self._state = state
        self._drop = drop
        self._waiting: dict[_Place, str] = {}  # (sandbox, dataset) -> table
        self._after: tuple[str, str] = ("", "")

    def look(self) -> None:
        """See which deleted datasets are not cleaned up; to be called when the control plane changed."""
        deleted = self._datasets.deleted()
        done = self._state.get_many(CLEANED, [f"{sandbox}/{dataset}" for sandbox, dataset in deleted]) if deleted else {}
        self._waiting = {
            place: lake_table(_sandbox_name(body), place[1])
            for place, body in deleted.items()
            if f"{place[0]}/{place[1]}" not in done
        }

    def step(self) -> bool:
        """Do a piece of work; return whether there is more."""
        if not self._waiting:
            return False
        place, table = next(iter(self._waiting.items()))
        sandbox_id, dataset_id = place
        if self._after == ("", ""):
            self._drop(table)
        with self._state.transaction() as change:
            part = deletion.Part(sandbox_id, dataset_id)
            after = deletion.remove_part(change, part, after=self._after, limit=_AT_ONCE)
            if after is None:
                series.forget(change, sandbox_id, series.dataset(dataset_id))
                change.put(CLEANED, [(f"{sandbox_id}/{dataset_id}", b"")])
        self._after = after or ("", "")
        if after is None:
            del self._waiting[place]
            log.info("deleted dataset cleaned up", action="dataset_cleaned", sandbox=sandbox_id, dataset=dataset_id)
        return bool(self._waiting)


def _sandbox_name(dataset: dict[str, object]) -> str:
    return str(dataset["basePath"]).removeprefix("lake://").partition("/")[0]
