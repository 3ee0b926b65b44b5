"""Places to look for sessions in: the public server, what was prepared before, the sample."""

from dataclasses import dataclass

from napari_mtm.recording.bench import BENCH
from napari_mtm.recording.opening import SAMPLE
from napari_mtm.recording.servers import OPENALYX, known_servers

RECENT = "recent"


@dataclass(frozen=True)
class Place:
    """A place by what `look` takes, and what a person calls it."""

    address: str
    title: str


def usual_places() -> list[Place]:
    """Return the places that need not be named."""
    return [
        Place(OPENALYX, "OpenAlyx, IBL's public server"),
        Place(BENCH, "BrainWideBench, by id, no account"),
        Place(RECENT, "Prepared before, on this disk"),
        Place(SAMPLE, "The simulated sample"),
    ]


def other_servers() -> list[Place]:
    """Return the servers beside the public one that ONE was set up for; it takes a moment."""
    return [Place(server, server) for server in known_servers() if server != OPENALYX]
