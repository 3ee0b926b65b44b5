"""What the panel says of sessions that were found."""

from napari_mtm.recording.catalogue.looking import Listing
from napari_mtm.recording.catalogue.offer import Offer
from napari_mtm.recording.source import Survey

_NAMES = {"good": "Good units", "all": "All units"}


def summary(listing: Listing) -> str:
    """Say how many sessions were found."""
    n = len(listing.sessions)
    if n == 0:
        return "No session there is as asked. Leave out a filter, or look in another place."
    here = sum(session.on_disk for session in listing.sessions)
    return f"{n} session{'s' if n > 1 else ''}, {here} on this disk."


def offered(offer: Offer) -> str:
    """Say what opening a session would mean, as rich text."""
    name, survey = offer.session.name, offer.survey
    if survey is None and offer.download:
        return f"<b>{name}</b><br>{_download(offer)}<br>What it holds is known after that."
    if survey is None:
        return f"<b>{name}</b><br>A prepared session: it opens at once."
    trials = "no trials table" if survey.n_trials is None else f"{survey.n_trials} trials"
    probes = f"{len(survey.probes)} probe{'s' if len(survey.probes) > 1 else ''}"
    lines = [f"<b>{survey.title}</b>", f"{probes}, {trials}", _download(offer), *survey.notes]
    return "<br>".join(lines)


def units(survey: Survey | None) -> list[str]:
    """Say what each choice of units means, as far as it is known."""
    numbers = {choice.units: f": {choice.n_units}" for choice in survey.choices} if survey else {}
    return [f"{name}{numbers.get(which, '')}" for which, name in _NAMES.items()]


def _download(offer: Offer) -> str:
    if offer.download == 0:
        return "On this disk: nothing to download."
    free = f"{size(offer.free)} are free on this disk"
    if offer.fits:
        return f"{size(offer.download)} to download, for good units and for all; {free}."
    return f"{size(offer.download)} to download do not fit: only {free}."


def size(number: int) -> str:
    """Say a number of bytes in MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
