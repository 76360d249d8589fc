"""How people are told apart and what is learnt of them: the rules that hold for every mapping."""

from msgspec import Struct

from streamer.core.consent import ConsentRules
from streamer.core.identity import Identities


class People(Struct, frozen=True):
    """`updates_from_context`: any event's `context.traits` are folded into the profile, not only seen by that event."""

    identities: Identities = Identities()
    updates_from_context: bool = False
    consent: ConsentRules = ConsentRules()

    def needs(self, value: bytes) -> bool:
        """Whether an event's bytes may say something of its person that no mapping asks for; 0.1 µs.

        Producers write these names as they are: no letter of them needs an escape.
        """
        return b"messaging_subscriptions" in value or (
            self.updates_from_context and b'"context"' in value and b'"traits"' in value
        )
