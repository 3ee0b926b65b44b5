"""Servers of sessions: IBL's Alyx databases, as ONE asks them.

ONE keeps who is logged in, in files of its own in the home folder, and the folder that downloads go
to. Nothing here reads what is typed, and no message holds a password or a token.
"""

import ipaddress
import json
import os
import threading
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from napari_mtm.errors import MtmError, SourceError, in_short

if TYPE_CHECKING:
    from one.api import One

OPENALYX = "https://openalyx.internationalbrainlab.org"
"""IBL's public database."""

SIGN_UP = f"{OPENALYX}/signup"
"""Where an account on it is made."""

USER, PASSWORD, TOKEN = (f"NAPARI_MTM_ONE_{what}" for what in ("USER", "PASSWORD", "TOKEN"))
"""Names in the environment of who logs in where no login is kept."""

_PATIENCE = (10.0, 20.0)
"""Seconds for a server to be reached, and to answer."""

_NESTED = 10
"""Errors within errors that are looked through."""

_connected: dict[str, "One"] = {}
_connecting = threading.Lock()


class LoginNeeded(SourceError):
    """A server knows nobody here, or no longer: `what` says so, the message also what to do."""

    def __init__(self, what: str, address: str = "") -> None:
        self.what = what
        advice = (
            f" Log in with `napari-mtm login {address}`; accounts are made at {address}/signup."
        )
        super().__init__(what + (advice if address else ""))


class ServerOffline(SourceError):
    """A server gives no answer: `what` says so, the message also what to do."""

    def __init__(self, what: str) -> None:
        self.what = what
        advice = "Check the network, or open what is on disk: name the folder of the ONE cache."
        super().__init__(f"{what} {advice}")


def is_address(text: object) -> bool:
    """Whether something is the address of a server."""
    return isinstance(text, str) and text.startswith(("http://", "https://"))


def connect(
    address: str,
    *,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
) -> "One":
    """Return a ONE that asks a server, the same one at each call.

    With a password or a token it logs in, and ONE keeps the token that it gets; without, it goes by
    what ONE has kept. Raises LoginNeeded where the server accepts neither, ServerOffline where it
    gives no answer, SourceError where there is no such address.
    """
    address = _checked(address)
    with _connecting:
        if password is None and token is None:
            user, kept = _kept(address, user)
            _must_accept(address, kept)
            known = _connected.get(address)
            if known is not None and (known.alyx.user, known.alyx.is_logged_in) == (user, True):
                return known
        else:
            _must_accept(address, token)
        _connected[address] = _made(address, user, password, token)
        return _connected[address]


def connect_as_known(address: str) -> "One":
    """Connect as ONE has kept it, or else as the environment says."""
    user, password, token = (os.environ.get(name) or None for name in (USER, PASSWORD, TOKEN))
    try:
        return connect(address, user=user)
    except LoginNeeded:
        if token is not None:
            return connect(address, user=user, token=token)
        if password is not None:
            return connect(address, user=user, password=password)
        raise


def login(
    address: str,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
) -> str:
    """Log in with a user and a password, or a token, that ONE then keeps; return the user."""
    return str(connect(address, user=user, password=password, token=token).alyx.user)


def cache_folder(address: str) -> Path | None:
    """Return where downloads from a server go; None where ONE was not set up for it."""
    from one import params

    address = _checked(address)
    try:
        if not (params.get_params_dir() / ".caches").is_file():
            return None
        return Path(params.get_cache_dir(address))
    except Exception:  # noqa: BLE001  files of ONE that are damaged may raise anything
        return None


def trouble(address: str, error: Exception, *, logged_in: bool = True) -> SourceError:
    """Say in a sentence what went wrong while a server was asked."""
    code = status_of(error)
    if code == 401 or not logged_in:
        refused = f" ({code})" if code == 401 else ""
        return LoginNeeded(f"{address} refused{refused}.", address)
    if code is not None:
        return SourceError(f"{address} {_refusal(code)}")
    if isinstance(error, OSError | HTTPException):
        return no_answer(address, error)
    return SourceError(f"{address} could not be asked: {in_short(error)}.")


def no_answer(address: str, error: Exception) -> ServerOffline:
    """Say that a server gives no answer, and why."""
    return ServerOffline(f"There is no answer from {address} ({_reason(error)}).")


def _reason(error: BaseException) -> str:
    """Why there is no answer, in the words of the system rather than of a library around it."""
    for _ in range(_NESTED):
        around = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        within = next((e for e in around if isinstance(e, BaseException)), None)
        if within is None:
            break
        error = within
    return in_short(getattr(error, "strerror", None) or error)


def _refusal(code: int) -> str:
    if code == 403:
        return "refused (403). Log in, or ask for access to this session."
    if code == 429:
        return "is too busy (429). Try again later."
    if code >= 500:
        return f"has trouble of its own ({code}). Try again later."
    return f"does not have what was asked for ({code})."


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of an error of urllib or requests, if it has one."""
    response = getattr(error, "response", None)
    code = getattr(error, "code", getattr(response, "status_code", None))
    return code if isinstance(code, int) else None


def may_hear_secrets(address: str) -> bool:
    """Whether what is sent to an address can be read by it alone: by TLS, or on this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme == "https" or host == "localhost":
            return True
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(address: str) -> str:
    """Return an address as ONE takes it; raise SourceError where it is none to log in to."""
    try:
        parts = urlsplit(address.strip())
        fine = bool(parts.hostname) and address.strip().isprintable() and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or not is_address(address.strip()) or parts.query or parts.fragment:
        raise SourceError(f"This is no address of a server; one is {OPENALYX}.")
    if parts.username is not None or parts.password is not None:
        raise SourceError(
            "Leave user and password out of the address, and log in with `napari-mtm login`."
        )
    if not may_hear_secrets(address.strip()):
        raise SourceError(f"{address} would send passwords in the clear; use its https:// address.")
    return address.strip().rstrip("/")


def _kept(address: str, user: str | None) -> tuple[str, str | None]:
    """Who is to ask a server, and the token that ONE has kept, or None for a password."""
    if cache_folder(address) is None:
        raise LoginNeeded(f"Nobody is logged in to {address}.", address)
    try:
        kept = _parameters(address)
        user = user or str(kept.get("ALYX_LOGIN") or "")
        tokens = kept.get("TOKEN") or {}
        if user in tokens:
            return user, str(tokens[user]["token"])
    except Exception as error:  # noqa: BLE001  files of ONE that are damaged may raise anything
        raise SourceError(
            f"What ONE has kept of {address} is damaged ({in_short(error)}). "
            f"Remove its file in {Path.home() / '.one'} and log in again."
        ) from None
    if not user or not kept.get("ALYX_PWD"):
        who = f"{user} is not" if user else "Nobody is"
        raise LoginNeeded(f"{who} logged in to {address}.", address)
    return user, None


def _parameters(address: str) -> dict[str, Any]:
    from one import params

    found: dict[str, Any] = params.get(client=address, silent=True).as_dict()
    return found


def _must_accept(address: str, token: str | None) -> None:
    """Raise where a server gives no answer, or does not accept a token."""
    import requests

    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Token {token}"
    try:
        status = requests.get(f"{address}/me", headers=headers, timeout=_PATIENCE).status_code
    except ValueError:  # what no header can hold; its message would quote the token
        raise SourceError(f"{address} cannot be asked with this token: it is none.") from None
    except OSError as error:
        raise trouble(address, error) from None
    if token is not None and status in (401, 403):
        raise LoginNeeded(f"{address} does not accept this login any more.", address)


def _made(address: str, user: str | None, password: str | None, token: str | None) -> "One":
    """Make a ONE for a server, which logs in where there is a password or a token."""
    from one.api import OneAlyx

    if password is not None and not user:
        raise LoginNeeded("A password needs the name of a user.", address)
    try:
        one = OneAlyx(base_url=address, username=user, password=password, token=token, silent=True)
    except Exception as error:  # noqa: BLE001  servers and networks raise anything
        _refuse(address, error)
    # ONE waits for minutes where a server is busy, and cannot be cancelled meanwhile.
    one.alyx.max_retry_attempts, one.alyx.max_retry_wait_seconds = 4, 30.0
    return one


def _refuse(address: str, error: Exception) -> NoReturn:
    if isinstance(error, MtmError):
        raise error
    code = status_of(error)
    if code in (400, 401, 403):
        raise LoginNeeded(f"{address} does not accept this login.", address) from None
    if isinstance(error, ValueError):
        raise SourceError(
            f"{address} does not say whose token this is; name the user too."
        ) from None
    if code == 404:
        raise SourceError(f"{address} is no Alyx server (404).") from None
    raise trouble(address, error) from None


def known_servers() -> list[str]:
    """Return the addresses of the servers that ONE was set up for."""
    from one import params

    caches = params.get_params_dir() / ".caches"
    try:
        clients = json.loads(caches.read_text(encoding="utf-8"))["CLIENT_MAP"]
        return sorted({str(params.get(client=c, silent=True).ALYX_URL) for c in clients})
    except Exception:  # noqa: BLE001  files of ONE that are damaged may raise anything
        return []
