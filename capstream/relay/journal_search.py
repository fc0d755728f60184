"""Looks through the journal for members whose data has to go, in the clerk: at low priority, a page at a time."""

from collections import Counter

from capstream.relay.members import member_name
from capstream.relay.sought import Sought
from capstream.relay.sweep import Find, Sweep, forget_finds, note_find, read_find, read_sweep
from capstream.storage.ports import Documents, Index, Log, Reading

_PAGE = 2000
_PAGES_KEPT = 50  # a search that is cut off goes on at most so many pages before
_FACETS = ("member", "other_member")


class JournalSearch:
    """`finds` is the clerk's store; the gateway reads it."""

    def __init__(self, journal: Log, index: Index, office: Reading, finds: Documents) -> None:
        self._journal = journal
        self._index = index
        self._office = office
        self._finds = finds
        self._at: tuple[int, int, int] | None = None  #: the sweep and the bounds that are searched
        self._sought = Sought(())
        self._find = Find(position=0)
        self._pages = 0

    def step(self) -> bool:
        """Look through one page for the sweep underway, if it wants that; return whether there was something to do."""
        sweep = read_sweep(self._office)
        if sweep is None:
            forget_finds(self._finds)
            return False
        if sweep.step not in ("search", "search_rest") or not self._is_open(sweep):
            return False
        if self._find.position < sweep.through:
            self._look(sweep)
            return True
        if self._index.through() < sweep.through:
            return False
        self._clear_index(sweep)
        self._find.is_done = True
        note_find(self._finds, sweep, self._find)
        return True

    def _is_open(self, sweep: Sweep) -> bool:
        bounds = (sweep.id, sweep.after, sweep.through)
        if bounds != self._at:
            self._at, self._pages = bounds, 0
            self._sought = Sought((each.org_id, each.customer_id) for each in sweep.members)
            self._find = read_find(self._finds, sweep) or Find(position=sweep.after)
        return not self._find.is_done

    def _look(self, sweep: Sweep) -> None:
        entries = [each for each in self._journal.read(self._find.position, _PAGE) if each[0] <= sweep.through]
        counts = Counter(self._find.counts)
        for offset, keys in self._sought.among(entries).items():
            self._find.offsets.append(offset)
            counts.update(map(member_name, keys))
        self._find.counts = dict(counts)
        self._find.position = entries[-1][0] if entries else sweep.through
        self._pages += 1
        if self._pages % _PAGES_KEPT == 0:
            note_find(self._finds, sweep, self._find)

    def _clear_index(self, sweep: Sweep) -> None:
        for each in sweep.members:
            gone = sum(self._index.erase({facet: each.customer_id, "org": each.org_id}) for facet in _FACETS)
            self._find.index_rows[each.name] = self._find.index_rows.get(each.name, 0) + gone
