"""What every `SmsGateway` does: one request, what is known of it afterwards, what a list shows of it, and cancel."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from streamer.core.delivery import ATTEMPT_TAG, Accepted, Attempt, Message, Refused, Unknown
from streamer.ports import SmsGateway

TO, FROM = "+15551230001", "+15550006789"
MESSAGE = Message("main", "sms", TO, "Hi é €", FROM, tags={"campaign": "spring"})
ATTEMPT = Attempt(bytes(range(16)), 1, "u:1")
HOUR_MS = 3_600_000
TAG = "000102030405060708090a0b0c0d0e0f-1"
EVER = 0


class SmsGatewayContract(ABC):
    """Each context yields a gateway whose other side behaves so, and `created` the bodies of what that side made."""

    @abstractmethod
    def accepting(self) -> AbstractAsyncContextManager[SmsGateway]: ...

    @abstractmethod
    def refusing(self, code: int) -> AbstractAsyncContextManager[SmsGateway]:
        """Refuses TO with Twilio's `code`."""

    @abstractmethod
    def too_busy(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Answers 429 to everything."""

    @abstractmethod
    def failing_after_creation(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Creates the message, and answers 5xx."""

    @abstractmethod
    def failing_before_creation(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Answers 5xx and creates nothing."""

    @abstractmethod
    def hanging_after_creation(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Creates the message, and never answers."""

    @abstractmethod
    def unreachable(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Nobody listens."""

    @abstractmethod
    def without_lists(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Accepts, and answers no list."""

    @abstractmethod
    def listing_late(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Accepts, and lists show nothing before `list_now`."""

    @abstractmethod
    def list_now(self) -> None: ...

    @abstractmethod
    def listing_without_tags(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Accepts, and lists show no tags."""

    @abstractmethod
    def sending_at_once(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Accepts, and what is not scheduled is sent by the time that it answers."""

    @abstractmethod
    def without_cancels(self) -> AbstractAsyncContextManager[SmsGateway]:
        """Accepts, and a request to cancel tells nothing."""

    @abstractmethod
    def now_ms(self) -> int:
        """The time by which the other side dates what it creates."""

    @abstractmethod
    def created(self) -> list[str]: ...

    async def test_a_created_message_is_accepted_with_its_sid(self):
        async with self.accepting() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert isinstance(answer, Accepted)
        assert answer.sid[:2] in ("SM", "MM")
        assert len(answer.sid) == 34
        assert self.created() == ["Hi é €"]

    async def test_a_messaging_service_stands_for_a_number(self):
        async with self.accepting() as gateway:
            answer = await gateway.create(Message("main", "sms", TO, "Hi", service_sid="MG" + "0" * 32), ATTEMPT)
        assert isinstance(answer, Accepted)
        assert self.created() == ["Hi"]

    async def test_two_creates_make_two_messages(self):
        """Create is not idempotent: that is why nothing repeats it."""
        async with self.accepting() as gateway:
            sids = {(await gateway.create(MESSAGE, ATTEMPT)).sid for _ in range(2)}
        assert len(sids) == len(self.created()) == 2

    async def test_a_definite_refusal_carries_the_gateways_code_and_creates_nothing(self):
        async with self.refusing(21610) as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert answer == Refused("optout", 21610, 400, "optout")
        assert self.created() == []

    async def test_too_many_requests_may_be_tried_again(self):
        async with self.too_busy() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.code, answer.http_status) == ("gateway_busy", 20429, 429)
        assert answer.kind == "retry"
        assert self.created() == []

    async def test_a_server_error_is_unknown_be_there_a_message_or_not(self):
        """The two can't be told apart, so neither may be repeated."""
        async with self.failing_after_creation() as gateway:
            after = await gateway.create(MESSAGE, ATTEMPT)
        assert len(self.created()) == 1
        async with self.failing_before_creation() as gateway:
            before = await gateway.create(MESSAGE, ATTEMPT)
        assert isinstance(after, Unknown)
        assert isinstance(before, Unknown)
        assert after.reason == before.reason == "gateway_error"
        assert {after.http_status, before.http_status} <= {500, 503}

    async def test_an_answer_that_never_comes_is_unknown(self):
        async with self.hanging_after_creation() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert answer == Unknown("timeout")
        assert len(self.created()) == 1

    async def test_a_connection_that_never_opened_is_not_sent(self):
        async with self.unreachable() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
        assert answer == Refused("not_sent", kind="retry")

    async def test_a_created_message_is_found_by_its_attempt(self):
        """Its tag is what tells it from all others; the mapping's own tags stay beside it."""
        begun_ms = self.now_ms()
        async with self.accepting() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
            found = await gateway.find(TO, "sms", begun_ms)
        [message] = found
        assert (message.sid, message.body, message.sender_from) == (answer.sid, "Hi é €", FROM)
        assert message.tags == {"campaign": "spring", ATTEMPT_TAG: TAG}
        assert (message.error_code, message.service_sid, message.direction) == (0, "", "outbound-api")
        assert message.status != ""
        assert begun_ms - 1000 < message.created_ms <= self.now_ms()

    async def test_a_message_whose_answer_was_lost_is_found(self):
        """What the list is for."""
        async with self.failing_after_creation() as gateway:
            answer = await gateway.create(MESSAGE, ATTEMPT)
            found = await gateway.find(TO, "sms", EVER)
        assert isinstance(answer, Unknown)
        assert [message.tags[ATTEMPT_TAG] for message in found] == [TAG]

    async def test_found_are_all_messages_to_the_address_newest_first(self):
        async with self.accepting() as gateway:
            sids = [(await gateway.create(MESSAGE, Attempt(ATTEMPT.send_id, n, "u:1"))).sid for n in (1, 2, 3)]
            await gateway.create(Message("main", "sms", TO[:-1] + "9", "another's", FROM), ATTEMPT)
            found = await gateway.find(TO, "sms", EVER)
        assert sids[::-1] == [message.sid for message in found]

    async def test_nothing_is_found_where_nothing_was_created(self):
        """An empty list is an answer; none at all is another."""
        async with self.refusing(21610) as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            assert await gateway.find(TO, "sms", EVER) == ()

    async def test_what_is_older_is_not_found_and_the_second_counts_as_a_whole(self):
        """The list's times have no milliseconds: one rounded up would miss the message it looks for."""
        async with self.accepting() as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            [message] = await gateway.find(TO, "sms", EVER)
            within = await gateway.find(TO, "sms", message.created_ms + 999)
            after = await gateway.find(TO, "sms", message.created_ms + 1000)
        assert within == (message,)
        assert after == ()

    async def test_whatsapp_has_addresses_of_its_own(self):
        """An SMS to the same person is not the message that is looked for."""
        async with self.accepting() as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            written = await gateway.create(Message("main", "whatsapp", TO, "Hi", FROM), ATTEMPT)
            found = await gateway.find(TO, "whatsapp", EVER)
            others = await gateway.find(TO, "rcs", EVER)
        assert [message.sid for message in found] == [written.sid]
        assert [message.body for message in others] == ["Hi é €"]

    async def test_a_message_may_be_listed_late(self):
        """So one look that finds nothing proves nothing."""
        async with self.listing_late() as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            assert await gateway.find(TO, "sms", EVER) == ()
            self.list_now()
            assert len(await gateway.find(TO, "sms", EVER)) == 1

    async def test_a_list_without_tags_says_so(self):
        """They are undeclared at Twilio; no tags and tags of somebody else are two things."""
        async with self.listing_without_tags() as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            [message] = await gateway.find(TO, "sms", EVER)
        assert message.tags is None

    async def test_a_list_that_cannot_be_had_is_none(self):
        """As an empty one it would say that the message does not exist."""
        async with self.without_lists() as gateway:
            await gateway.create(MESSAGE, ATTEMPT)
            assert await gateway.find(TO, "sms", EVER) is None

    def scheduled(self) -> Message:
        """A message for an hour later."""
        return Message("main", "sms", TO, "later", service_sid="MG" + "0" * 32, send_at_ms=self.now_ms() + HOUR_MS)

    async def test_what_is_scheduled_is_cancelled_and_asking_again_does_no_harm(self):
        """A lost answer is asked for again."""
        async with self.accepting() as gateway:
            sid = (await gateway.create(self.scheduled(), ATTEMPT)).sid
            other = (await gateway.create(self.scheduled(), ATTEMPT)).sid
            answers = [await gateway.cancel(sid) for _ in range(2)]
            statuses = {message.sid: message.status for message in await gateway.find(TO, "sms", EVER)}
        assert answers == [True, True]
        assert statuses[sid] == "canceled"
        assert statuses[other] != "canceled"

    async def test_what_was_sent_is_not_to_be_cancelled_any_more(self):
        async with self.sending_at_once() as gateway:
            sid = (await gateway.create(MESSAGE, ATTEMPT)).sid
            assert await gateway.cancel(sid) is False

    async def test_there_is_nothing_to_cancel_of_what_is_no_message(self):
        async with self.accepting() as gateway:
            assert await gateway.cancel("SM" + "f" * 32) is False

    async def test_a_cancel_without_a_usable_answer_says_nothing(self):
        """As a refusal it would leave a message that could have been stopped."""
        async with self.without_cancels() as gateway:
            sid = (await gateway.create(self.scheduled(), ATTEMPT)).sid
            assert await gateway.cancel(sid) is None
