"""When the courier shares its batches with translators, and how it deals the journal out among them.

It does while a backlog waits and nothing but webhooks is on the way: no job, no held event, no dataflow that is behind, no
Capillary API to be asked. A webhook that no process has for its own (a merge, say) ends the sharing; the courier does the stretch
that holds it alone. Both beginning and end come between batches, with everything settled. Source: docs/adr/0018.
"""

from collections.abc import Sequence

from capstream.kernel import log
from capstream.relay.draft import Draft
from capstream.relay.journal import Entry, Flag, decode
from capstream.relay.part import Part
from capstream.relay.shares import NOBODYS, Shares, names_others
from capstream.relay.sources import Sources
from capstream.relay.translation import Ready, Translation
from capstream.relay.translators import Translators, Unshareable
from capstream.relay.wire import Entries

_BUSY = 4  # portions in a batch from which on it is worth while
_ALONE = 20_000  # entries the courier does alone after a batch that could not be shared; twice as many each time
_MOST_ALONE = 1_000_000
_COMMAND = int(Flag.COMMAND)


class Dealt:
    """Journal entries, dealt out."""

    def __init__(self, translators: int) -> None:
        self.own: list[tuple[int, Entry]] = []
        self.others: list[list[tuple[int, bytes]]] = [[] for _ in range(translators)]
        self.last = 0  #: offset of the last entry that was dealt out; 0: none was
        self.count = 0
        self.since_ms = 0  #: when the first was received


class Sharing:
    """The courier's side of the sharing. `is_on` changes only by `begin`, `end` and `start_over`."""

    def __init__(self, translators: Translators, translation: Translation, sources: Sources) -> None:
        self._translators = translators
        self._translation = translation
        self._sources = sources
        self._shares = Shares(0)
        self._count = 0
        self._learned = 0
        self._is_busy = False
        self._alone_until = 0
        self._alone = _ALONE
        self.is_on = False

    def is_wanted(self, position: int) -> bool:
        """Return whether the batch behind `position` is one to share, as far as the journal and the translators go."""
        return self._is_busy and position >= self._alone_until and (self.is_on or self._translators.are_there())

    def note(self, entries: int, portion: int, *, is_crowded: bool) -> bool:
        """Note how much there is for a batch so far; return whether it had better end, because the next one can be shared.

        `is_crowded`: it has to end, there is no room for further members.
        """
        if entries >= (portion if is_crowded else _BUSY * portion):
            self._is_busy = True
        elif entries < portion and not is_crowded:
            self._is_busy = False
        return self._is_busy and not self.is_on

    async def begin(self, *, member_bytes: int, log_bytes: int) -> None:
        """Give some members away. Everything is settled. Errors: Unshareable."""
        programs = self._translation.programs
        self.is_on = True  # an error in between needs `start_over`
        self._count = await self._translators.begin(programs.dump(), member_bytes=member_bytes, log_bytes=log_bytes)
        self._shares = Shares(self._count)
        self._learned = programs.revision
        self._let_go()
        log.info("batches are shared", action="sharing_begins", translators=self._count)

    def end(self) -> None:
        """Take all members back. Everything is settled."""
        self._translators.rest()
        self._let_go()
        self.is_on = False
        self._alone = _ALONE
        log.info("batches are shared no more", action="sharing_ends")

    def start_over(self) -> None:
        """Forget what is not settled, and share nothing."""
        if self.is_on:
            self._translators.send_away()
        self.is_on = False
        self._is_busy = False

    def stay_alone(self, cursor: int) -> None:
        """Share nothing for a while behind the cursor: what is there cannot be shared."""
        self._alone_until = cursor + self._alone
        self._alone = min(2 * self._alone, _MOST_ALONE)

    def _let_go(self) -> None:
        of_customer = self._shares.of_customer
        self._translation.members.let_go(lambda customer: of_customer(customer) != 0)

    def deal(self, entries: Sequence[tuple[int, bytes]]) -> Dealt:
        """Deal out journal entries up to the first that is nobody's: it ends the sharing."""
        dealt, table = Dealt(self._count), self._sources.table
        for item in entries:
            entry = decode(item[1])
            flags, owner = entry.flags, 0
            if flags & _COMMAND:
                owner = NOBODYS
            elif not flags:
                source = table.get(entry.source_key)
                if source is not None and source.preset != "adobe-ready":
                    owner = self._shares.of_webhook(entry.body)
            if owner == NOBODYS:
                self._alone_until = item[0]
                self._is_busy = False
                break
            dealt.last = item[0]
            dealt.since_ms = dealt.since_ms or entry.received_ms
            dealt.count += 1
            if owner:
                dealt.others[owner - 1].append(item)
            else:
                dealt.own.append((item[0], entry))
        return dealt

    async def give(self, others: Sequence[Entries]) -> None:
        """Let the translators begin with their part of a portion. Errors: Unshareable."""
        await self._translators.take(others)

    def check(self, ready: Sequence[Ready]) -> None:
        """Make sure that events of the courier's own part are about its members. Errors: Unshareable."""
        if names_others(ready, self._translation.members.states, self._shares, 0):
            raise Unshareable("a webhook is about a member of a translator")

    async def parts(self) -> list[Part]:
        """Return what the translators made of their part. Errors: Unshareable."""
        self._check_news()
        return await self._translators.parts()

    async def close(self) -> None:
        """Let the translators end the batch. Errors: Unshareable."""
        self._check_news()
        await self._translators.close()

    async def piece(self) -> Part | None:
        """Return the next piece of what they have for its end, None after the last. Errors: Unshareable."""
        return await self._translators.piece()

    def _check_news(self) -> None:
        if self._translation.programs.revision != self._learned:
            raise Unshareable("a webhook says something new about a programme")

    def settled(self, draft: Draft) -> None:
        """Tell the translators that a batch is settled, if they had a part in it."""
        if draft.is_shared and self.is_on:
            self._translators.settled()
