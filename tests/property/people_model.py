"""What must come of a history of people, in the plainest words: sets and dictionaries, nothing of `core`.

The history is a list of `Input`s in the order in which they reached the inputs. Who somebody is follows from all of the
links, whenever they came. Where links contradict each other (a device of two users, a user with two successors, a
circle), what arrived first decides, and the model claims less: see `Model.is_plain`.
"""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Input:
    """One event that reached the inputs at `kafka_ms`; it happened at `at_ms`. `place` are its coordinates."""

    type: str
    user: str
    anonymous: str
    at_ms: int
    kafka_ms: int
    place: tuple
    message: str = ""
    name: str = ""  # of a track
    traits: dict = field(default_factory=dict, hash=False)
    previous: str = ""
    release_ms: int = 0  # when a scheduled one is to leave

    @property
    def key(self):
        """The identity key that it has by itself."""
        return f"u:{self.user}" if self.user else f"a:{self.anonymous}"

    @property
    def identity(self):
        """By what a repeat of it is known."""
        return self.message or self.place

    def links(self):
        """What it says of who is whom: (key, the user's key)."""
        if not self.user or self.type == "delete":
            return []
        found = [f"a:{self.anonymous}"] if self.anonymous else []
        if self.type == "alias" and self.previous != self.user:
            found += [f"u:{self.previous}", f"a:{self.previous}"]
        return [(key, f"u:{self.user}") for key in found]


class Model:
    """The history so far, and what it comes to."""

    def __init__(self, mappings_of, wait_ms):
        self.inputs = []
        self._mappings_of = mappings_of
        self._wait_ms = wait_ms

    def add(self, event):
        """One more event reached the inputs."""
        self.inputs.append(event)

    # ── who is who ─────────────────────────────────────────────────────────

    def links(self, before_ms=None):
        """Key → the users it was ever linked to, by events that reached the inputs before a time."""
        found = defaultdict(set)
        for event in self.inputs:
            if before_ms is None or event.kafka_ms < before_ms:
                for key, target in event.links():
                    found[key].add(target)
        return found

    def component(self, key, before_ms=None):
        """All keys that links connect with this one, whichever way, as far as links came before a time."""
        links, found, todo = self.links(before_ms), {key}, [key]
        while todo:
            one = todo.pop()
            near = set(links.get(one, ())) | {other for other, targets in links.items() if one in targets}
            todo += near - found
            found |= near
        return found

    def is_plain(self, key):
        """Whether the links leave no doubt: each key of the person has one user, and their chain is short and ends."""
        links = self.links()
        person = self.component(key)
        return all(len(links.get(each, ())) <= 1 for each in person) and all(self._ends(each, links) for each in person)

    def _ends(self, key, links):
        hops = 0
        while key in links:
            [key] = links[key]
            hops += 1
            if hops > 3:
                return False
        return True

    def is_circular(self, key):
        """Whether some of the person's keys are each other's successors: such an event is decided where it strands."""
        links = self.links()
        person, ended = self.component(key), set()
        while more := {each for each in person - ended if links.get(each, set()) <= ended}:
            ended |= more
        return ended != person

    def home(self, key):
        """Where a plain person's record ends up."""
        links = self.links()
        while key in links:
            [key] = links[key]
        return key

    def deletions(self, key):
        """The times at which somebody asked to forget a person, by whichever of their keys."""
        person = self.component(key)
        return [
            event.at_ms
            for event in self.inputs
            if event.type == "delete" and {f"u:{event.user}", f"a:{event.anonymous}"} & person
        ]

    # ── what comes of it ───────────────────────────────────────────────────

    def traits(self, key):
        """A plain, never forgotten person's traits in the end: of each the last writer."""
        person, winner = self.component(key), {}
        for event in self.inputs:
            if event.type == "identify" and event.key in person:
                for name, value in event.traits.items():
                    stamp = (event.at_ms, event.message or "/".join(map(str, event.place)))
                    winner[name] = max(winner.get(name, ((-1, ""), None)), (stamp, value), key=lambda each: each[0])
        return {name: value for name, (_, value) in winner.items() if value is not None}

    def sends(self):
        """Everything that matched: (mapping, origin key, message id or coordinates) → its events, the first first."""
        found = defaultdict(list)
        for event in self.inputs:
            if event.type == "track":
                for mapping in self._mappings_of.get(event.name, ()):
                    found[mapping, event.key, event.identity].append(event)
        return found

    def had(self, key, name, before_ms):
        """Whether a person was given a trait, by an identify that reached the inputs, and was theirs, before a time."""
        person = self.component(key, before_ms)
        return any(
            event.kafka_ms < before_ms and event.traits.get(name) is not None
            for event in self.inputs
            if event.type == "identify" and event.key in person
        )

    def may_lack(self, key, name):
        """Whether a person may be without a trait after it was given: an identify deleted it."""
        person = self.component(key)
        return any(
            event.type == "identify" and event.key in person and event.traits.get(name, "") is None
            for event in self.inputs
        )
