"""Places to look for sessions in: the sample, what was open before, servers, folders."""

from dataclasses import dataclass

from napari_mtm.recording.opening import SAMPLE
from napari_mtm.recording.servers import OPENALYX, known_servers

RECENT = "recent"


@dataclass(frozen=True)
class Place:
    """A place by what `look` takes, and what a person calls it."""

    address: str
    title: str


def usual_places() -> list[Place]:
    """Return the places that need not be named: the public server, others that ONE knows."""
    others = [server for server in known_servers() if server != OPENALYX]
    return [
        Place(OPENALYX, "IBL's public server (OpenAlyx)"),
        *(Place(server, server) for server in others),
        Place(RECENT, "Prepared before, on this disk"),
        Place(SAMPLE, "The simulated sample"),
    ]
