"""What every `SmsGateway` does: one request, and what is known of it afterwards."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from streamer.core.delivery import Accepted, Message, Refused, Unknown
from streamer.ports import SmsGateway

TO, FROM = "+15551230001", "+15550006789"
MESSAGE = Message("main", "sms", TO, "Hi é €", FROM)


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
    def created(self) -> list[str]: ...

    async def test_a_created_message_is_accepted_with_its_sid(self):
        async with self.accepting() as gateway:
            answer = await gateway.create(MESSAGE)
        assert isinstance(answer, Accepted)
        assert answer.sid[:2] in ("SM", "MM")
        assert len(answer.sid) == 34
        assert self.created() == ["Hi é €"]

    async def test_a_messaging_service_stands_for_a_number(self):
        async with self.accepting() as gateway:
            answer = await gateway.create(Message("main", "sms", TO, "Hi", service_sid="MG" + "0" * 32))
        assert isinstance(answer, Accepted)
        assert self.created() == ["Hi"]

    async def test_two_creates_make_two_messages(self):
        """Create is not idempotent: that is why nothing repeats it."""
        async with self.accepting() as gateway:
            sids = {(await gateway.create(MESSAGE)).sid for _ in range(2)}
        assert len(sids) == len(self.created()) == 2

    async def test_a_definite_refusal_carries_the_gateways_code_and_creates_nothing(self):
        async with self.refusing(21610) as gateway:
            answer = await gateway.create(MESSAGE)
        assert answer == Refused("optout", 21610, 400, "optout")
        assert self.created() == []

    async def test_too_many_requests_may_be_tried_again(self):
        async with self.too_busy() as gateway:
            answer = await gateway.create(MESSAGE)
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.code, answer.http_status) == ("gateway_busy", 20429, 429)
        assert answer.kind == "retry"
        assert self.created() == []

    async def test_a_server_error_is_unknown_be_there_a_message_or_not(self):
        """The two can't be told apart, so neither may be repeated."""
        async with self.failing_after_creation() as gateway:
            after = await gateway.create(MESSAGE)
        assert len(self.created()) == 1
        async with self.failing_before_creation() as gateway:
            before = await gateway.create(MESSAGE)
        assert isinstance(after, Unknown)
        assert isinstance(before, Unknown)
        assert after.reason == before.reason == "gateway_error"
        assert {after.http_status, before.http_status} <= {500, 503}

    async def test_an_answer_that_never_comes_is_unknown(self):
        async with self.hanging_after_creation() as gateway:
            answer = await gateway.create(MESSAGE)
        assert answer == Unknown("timeout")
        assert len(self.created()) == 1

    async def test_a_connection_that_never_opened_is_not_sent(self):
        async with self.unreachable() as gateway:
            answer = await gateway.create(MESSAGE)
        assert answer == Refused("not_sent", kind="retry")
