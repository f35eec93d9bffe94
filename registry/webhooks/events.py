"""The events that webhooks can send. Each app declares its own in AppConfig.ready()."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event; docs/webhooks.md documents its `data`."""

    name: str
    description: str


VERSION_REGISTERED = Event("version.registered", "A model version was registered.")
ARTIFACT_ATTACHED = Event(
    "version.artifact_attached", "A version that was registered without its file got it."
)
ALIAS_MOVED = Event(
    "alias.moved", "An alias was set, changed, rolled back or removed, by a user or by itself."
)
APPROVAL_REQUESTED = Event(
    "approval.requested", "A move of an alias waits for the approval of somebody else."
)
# Sent to one webhook on demand, whatever it has subscribed to.
TEST = Event("webhook.test", "Somebody has asked for a test message.")

_events: dict[str, Event] = {}


class UnknownEvent(Exception):
    """No app has declared the event: an error in the program."""


def declare(*events: Event) -> None:
    """Make these events known, so that webhooks can subscribe to them and they can be published."""
    _events.update({event.name: event for event in events})


def declared() -> list[Event]:
    """All events to which webhooks can subscribe, by name."""
    return [_events[name] for name in sorted(_events)]


def require_declared(event: Event) -> None:
    """Raises UnknownEvent."""
    if event.name not in _events:
        raise UnknownEvent(event.name)
