"""The fault matrix: the crash point, by whether a callback comes, when the list shows the message, and `on_unknown`.

One world a crash point: an account (a fake Twilio) for each way of being told, a mapping for each cell, some people in
each, whose sends are all at that very point when the process dies. What must come of each cell is computed from what
the crash left behind and from what the provider lets us know, and from nothing that was seen.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from streamer.core.sends import UNRESOLVED
from streamer.core.state import Person
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import StoredMessage
from tests.callbacks import http_of, receiver
from tests.chaos.crashing import ACKED, SPEED, WAITS_S, program
from tests.service import (
    ANSWER_S,
    ORDER_SHIPPED,
    SECRET,
    SENDER,
    SHORT_SESSION,
    Delivery,
    Send,
    World,
    attempt_of,
    attempts_of,
    outcomes_of,
    track,
    until,
    world,
)

PEOPLE = 2  # in each cell
HOLD_S = 5.0  # between a request's arrival and its message: the service is killed long before
LEFT, CREATED = "request.left", "request.answered"  # at the fake, the message not created; created, the answer not read
# Of the last record before and behind each ack: written or not, which the process that dies can't tell.
POINTS = (
    "intent.unwritten",
    "intent.unacked",
    ACKED,
    LEFT,
    CREATED,
    "outcome.unwritten",
    "outcome.unacked",
    "event.unwritten",
    "event.unacked",
)
AT_FAKE = {LEFT: Faults(latency_s=HOLD_S), CREATED: Faults(hang_after_share=1.0)}
UNPOSTED = {"intent.unwritten"}  # the changelog knows of no request
NOT_CREATED = UNPOSTED | {"intent.unacked", ACKED}  # Twilio knows of none
ANSWERED = {"outcome.unacked", "event.unwritten", "event.unacked"}  # the changelog has the answer
AT_ONCE, LATE, UNSEEN = "at_once", "late", "unseen"
LISTS = {
    AT_ONCE: Faults(),
    LATE: Faults(list_delay_s=None, list_tags=False),  # until it was missed once; known by its body
    UNSEEN: Faults(list_delay_s=None),
}
NEXT = ".next"  # of the message id of everyone's second event
SHOP = {"shop": {"from": SENDER, "account": "main"}}  # the default sender of every world, which nothing is sent from


class Cell(NamedTuple):
    """One combination beside the crash point."""

    is_called_back: bool
    listed: str
    on_unknown: str

    @property
    def account(self) -> str:
        return f"{'told' if self.is_called_back else 'silent'}-{self.listed}".replace("_", "-")

    @property
    def mapping(self) -> str:
        return f"{self.account}-{self.on_unknown}"

    @property
    def is_told(self) -> bool:
        """Whether the provider ever lets us know of a message."""
        return self.is_called_back or self.listed != UNSEEN


CELLS = tuple(Cell(*each) for each in product((True, False), LISTS, ("hold", "resend")))


class Expected(NamedTuple):
    """What must come of one send: its outcome, the statuses of its resolution, and the attempts that have a message."""

    outcome: str
    statuses: Sequence[str]
    attempts: Sequence[int]


def expected_of(point: str, cell: Cell) -> Expected:
    """The rule of the issue: one outcome; the truth as far as the provider tells; another attempt only where asked."""
    if point in UNPOSTED or point in ANSWERED:
        return Expected("accepted", (), (1,))
    first = () if point in NOT_CREATED else (1,)
    if first and cell.is_told:
        return Expected("unknown", ("accepted",), (1,))
    if cell.on_unknown == "hold":
        return Expected("unknown", ("not_created",), first)
    return Expected("unknown", ("not_created", "accepted"), (*first, 2))


def key_of(send: Send) -> str:
    """The person that it is to."""
    return f"u:{send.message_id}"


class Town:
    """The people of a world, by cell, and the fakes of its accounts."""

    def __init__(self, here: World, fakes: dict[str, FakeTwilio]) -> None:
        self.here = here
        self.fakes = fakes
        self.cells = {Send(f"{cell.mapping}.{each}", cell.mapping): cell for cell in CELLS for each in range(PEOPLE)}

    def events(self, suffix: str = "") -> Iterator[Any]:
        for number, send in enumerate(self.cells):
            yield track(
                key_of(send),
                send.message_id + suffix,
                cell=send.mapping,
                phone=f"+1415555{1000 + number}",
            )

    def messages(self) -> list[StoredMessage]:
        return [message for fake in self.fakes.values() for message in fake.messages]

    def set_faults(self, faults: Faults = Faults()) -> None:  # noqa: B008  # frozen
        """Have every fake's creates go so wrong; what is told stays as it is."""
        for fake in self.fakes.values():
            told = fake.api.faults
            more = {"list_delay_s": told.list_delay_s, "list_tags": told.list_tags, "callbacks": told.callbacks}
            fake.set_faults(replace(faults, **more))

    def show_late(self) -> None:
        """Have the lists that are late show everything."""
        for fake in self.fakes.values():
            if not fake.api.faults.list_tags:
                fake.set_faults(replace(fake.api.faults, list_delay_s=0.0))

    async def go_on(self) -> None:
        """Have everyone's next event be sent as ever: nobody is stuck."""
        await self.here.put(*self.events(NEXT))
        following = {Send(send.message_id + NEXT, send.mapping) for send in self.cells}
        outcomes = await self.here.decided(following)
        assert {outcomes[send].outcome for send in following} == {"accepted"}
        await self.here.caught_up()
        left = {key: (person.due, person.held) for key, person in (await self.here.people()).items()}
        assert not [key for key, waiting in left.items() if any(waiting)]

    async def missed(self) -> bool:
        """Whether the lists that are late have been asked in vain for every message of theirs."""
        people = await self.here.people()
        late = [send for send, cell in self.cells.items() if cell.listed == LATE and not cell.is_called_back]
        followed = [people[key_of(send)].followed for send in late if key_of(send) in people]
        return len(followed) == len(late) and all(sends and sends[0].checks for sends in followed)


@asynccontextmanager
async def town(kafka: Any, prefix: str, folder: Any) -> AsyncIterator[Town]:
    """A world with an account, a fake and a sender for each way of being told, and a mapping for each cell."""
    async with world(kafka, prefix, folder) as here, receiver(here) as heard, AsyncExitStack() as stack:
        fakes = {}
        for cell in CELLS:
            if cell.account not in fakes:
                setup = Setup(faults=replace(LISTS[cell.listed], callbacks=cell.is_called_back))
                fakes[cell.account] = await stack.enter_async_context(FakeTwilio(setup))
        accounts = {
            name: {
                "account_sid": fake.account.account_sid,
                "api_key_sid": fake.account.api_key_sid,
                "api_key_secret": f"${{{SECRET}}}",
                "base_url": fake.base_url,
                "concurrency": 8,
            }
            for name, fake in fakes.items()
        }
        here.configure(
            {cell.mapping: mapping_of(cell) for cell in CELLS},
            kafka=SHORT_SESSION,
            more={
                "accounts": accounts,
                "senders": {name: {"from": SENDER, "account": name} for name in fakes} | SHOP,
                "http": http_of(heard),
            },
        )
        yield Town(here, fakes)


def mapping_of(cell: Cell) -> dict[str, Any]:
    return {
        "when": f'{ORDER_SHIPPED} and properties.cell = "{cell.mapping}"',
        "on_unknown": cell.on_unknown,
        "send": {
            "from": cell.account,
            "to": "{{properties.phone}}",
            "body": f"Hi! #{{{{messageId}}}}/{cell.mapping}",
        },
    }


async def crash(there: Town, point: str) -> None:
    """Have every send of the town begin, and end the process when all of them have come to the point."""
    is_at_fake = point in AT_FAKE
    if is_at_fake:
        there.set_faults(AT_FAKE[point])
    service = await there.here.start(program=program() if is_at_fake else program(point, len(there.cells)))
    await there.here.put(*there.events())
    if is_at_fake:

        async def are_there() -> bool:
            seen = [fake.stats.requests if point == LEFT else fake.stats.created for fake in there.fakes.values()]
            return sum(seen) == len(there.cells)

        await until(point, are_there)
        created = len(there.messages())
        await service.kill()
        assert created == (0 if point == LEFT else len(there.cells)), "the crash came late"
    else:
        assert await service.ended() == -9, service.log()

    async def is_created() -> bool:
        return len(there.messages()) == (0 if point in NOT_CREATED else len(there.cells))

    await until("the messages of what had left", is_created)
    there.set_faults()


async def assert_at(there: Town, point: str) -> None:
    """The crash came exactly there, for every send: as Kafka shows it."""
    everyone = len(there.cells)
    people = (await there.here.people()).values()
    posting = sum(1 for person in people if person.due and person.due[0].is_posting)
    answered = sum(1 for person in people if not person.due and person.out)
    wanted = (0, 0) if point in UNPOSTED else (0, everyone) if point in ANSWERED else (everyone, 0)
    assert wanted == (posting, answered)
    assert (everyone if point == "event.unacked" else 0) == len(await there.here.deliveries())


async def settled(there: Town, wanted: dict[Send, Expected]) -> dict[Send, list[Delivery]]:
    """The resolutions, once each send has as many as it should."""

    async def ask() -> bool:
        found = await there.here.resolutions()
        return all(len(found.get(send, ())) >= len(each.statuses) for send, each in wanted.items())

    with suppress(TimeoutError):  # the comparison says which are missing
        await until("the resolutions", ask, ANSWER_S + WAITS_S / SPEED)
    return await there.here.resolutions()


async def check(there: Town, wanted: dict[Send, Expected]) -> None:
    """Every send against what must come of it."""
    found = await settled(there, wanted)
    outcomes = outcomes_of(await there.here.deliveries(), there.here.partitions)
    by_send = attempts_of(there.messages())
    assert wanted.keys() == outcomes.keys()
    for send, each in wanted.items():
        outcome, told, messages = outcomes[send].said, found.get(send, []), by_send.get(send, [])
        seen = Expected(
            outcome["outcome"], tuple(one.said["status"] for one in told), tuple(attempt_of(one) for one in messages)
        )
        assert each == seen, f"{send}: {[one.said for one in told]}"
        assert outcome["reason"] == ("interrupted" if each.outcome == "unknown" else "accepted")
        assert all(one.said["outcome"] == each.outcome for one in told), "an outcome is repeated as it was"
        sids = [said["twilio_sid"] for said in [outcome, *(one.said for one in told)] if said["twilio_sid"]]
        is_known = "accepted" in (each.outcome, *each.statuses)
        assert sids == ([messages[-1].sid] if is_known else []), f"{send} names another message"


def assert_left_to_decide(wanted: dict[Send, Expected], people: dict[str, Person]) -> None:
    """What stays unknown waits for a person to decide, and nothing else is followed any more."""
    undecided = {send for send, each in wanted.items() if each.statuses == ("not_created",)}
    left = {key: [send.reason for send in person.followed] for key, person in people.items()}
    assert {key: [UNRESOLVED] for key in map(key_of, undecided)} == {key: why for key, why in left.items() if why}


@pytest.mark.parametrize("point", POINTS)
async def test_wherever_a_crash_catches_a_send_it_has_one_outcome_and_no_second_message(
    point, kafka, topic_prefix, tmp_path
):
    """A repeated text annoys and a lost one is never noticed: only what the provider hides may end unresolved."""
    async with town(kafka, topic_prefix, tmp_path) as there:
        wanted = {send: expected_of(point, cell) for send, cell in there.cells.items()}
        await crash(there, point)
        await assert_at(there, point)
        service = await there.here.start(program=program())
        await there.here.decided(wanted)
        if any(each.outcome == "unknown" for each in wanted.values()):
            with suppress(TimeoutError):  # the comparison says what came instead
                await until("a miss of the late lists", there.missed, ANSWER_S + WAITS_S / SPEED)
            there.show_late()
        await check(there, wanted)
        await there.go_on()
        assert_left_to_decide(wanted, await there.here.people())
        await service.stop()
        assert "Traceback" not in service.log()
