"""What an endpoint is asked for, whatever it speaks, and the lines that tell why there is no answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from deepmusic_genre.client.text import printable

SIGNATURE = "serving_examples"
"""Takes serialized examples, whose tracks may be of any lengths."""

MAX_ANSWER_BYTES = 16 << 20
"""Longest answer that is read: a real one has some kilobytes."""

REST_SCHEMES = ("http", "https")
GRPC_SCHEMES = ("grpc", "grpcs")

_GRPC_PROXIES = ("grpc", "https", "http")
"""Whose variables gRPC reads, in its order."""

_LONGEST_TOLD = 300
_LARGEST_VERSION = 2**63 - 1


class EndpointError(Exception):
    """Why there is no answer, in a line that says what to do."""


class PassingError(EndpointError):
    """What may be better at the next attempt: a prediction changes nothing, so it may be asked for again."""


class RefusedError(EndpointError):
    """The server does not answer this request; it may answer another.

    Attributes:
        reason: Why, without the server's address.
    """

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"{address.shown} {reason}")
        self.reason = f"the server {reason}"


class NotServedError(Exception):
    """The server knows no such model or version; its message is the server's."""


@dataclass(frozen=True)
class Address:
    """Where an endpoint is, and what is asked of it there.

    Attributes:
        parts: of the URL.
        model: the model's name.
        version: one of its versions, None for the newest.
        proxy: URL of the proxy that the environment names for it, None where there is none.
    """

    parts: SplitResult
    model: str
    version: int | None
    proxy: str | None = None

    @property
    def shown(self) -> str:
        """The URL for messages, without a password, and the proxy on the way there."""
        url = _without_password(self.parts)
        return f"{url} (through the proxy {_without_password(urlsplit(self.proxy))})" if self.proxy else url


@dataclass(frozen=True)
class VersionStatus:
    """A version that the server knows: its state (``AVAILABLE``, ``LOADING``, ``END``, …), and what went wrong."""

    version: int
    state: str
    fault: str = ""


class Transport(Protocol):
    """A way to an endpoint. ``predict``, ``inputs`` and ``versions`` raise EndpointError, or TimeoutError."""

    def predict(self, examples: Sequence[bytes], version: int, timeout_s: float) -> Any:
        """Asks a version of the model once.

        Returns:
            The signature's outputs by name, as lists.

        Raises:
            NotServedError: there is no such model or version.
            RefusedError: it does not answer these examples.
        """

    def inputs(self, version: int, timeout_s: float) -> set[str]:
        """The names of the inputs of all signatures of a version; raises NotServedError as ``predict`` does."""

    def versions(self, timeout_s: float) -> list[VersionStatus]:
        """The versions of the model that the server knows, none if it does not know the model."""

    def close(self) -> None:
        """Ends the connection."""


def parse_address(url: str, model: str, version: int | None) -> Address:
    """Reads a URL.

    Raises:
        EndpointError: it is none of a TF Serving endpoint.
    """
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise EndpointError(f"{url} is no address: {error}.") from error
    if parts.scheme not in REST_SCHEMES + GRPC_SCHEMES or not usable:
        raise EndpointError(
            f"{url} is no address of TF Serving: http://host:8501 is one for REST, grpc://host:8500 for gRPC."
        )
    if parts.scheme in GRPC_SCHEMES and (parts.path or parts.query):
        raise EndpointError(f"{url} is no address of a gRPC endpoint: nothing follows its port.")
    if version is not None and not 0 <= version <= _LARGEST_VERSION:
        raise EndpointError(f"{version} is no version: TF Serving's are from 0 to {_LARGEST_VERSION}.")
    return Address(parts, model, version, _proxy(parts))


def no_server(address: Address, reason: object) -> PassingError:
    """Nobody listens there."""
    if address.proxy:
        return PassingError(f"Nothing answers at {address.shown}: {one_line(reason).rstrip('.')}.")
    return PassingError(
        f"No server answers at {address.shown}: `deepmusic serve` starts one ({one_line(reason).rstrip('.')})."
    )


def no_safe_connection(address: Address, reason: object) -> EndpointError:
    """TLS failed: the server has none, or nobody vouches for it."""
    return EndpointError(f"No safe connection to {address.shown}: {one_line(reason).rstrip('.')}.")


def broken_off(address: Address, reason: object) -> PassingError:
    """The connection ended before the answer did."""
    return PassingError(f"The connection to {address.shown} broke off: {one_line(reason).rstrip('.')}.")


def busy(address: Address, told: object) -> PassingError:
    """The server has no room for the request, or is about to start or to stop."""
    return PassingError(f"{address.shown} cannot answer now: {one_line(told)}")


def not_tf_serving(address: Address, reason: object) -> EndpointError:
    """Something else listens there."""
    return EndpointError(f"{address.shown} is not a TF Serving endpoint: {one_line(reason).rstrip('.')}.")


def not_this_model(address: Address, reason: object) -> EndpointError:
    """Another model has the name."""
    return EndpointError(
        f"The model {address.model} at {address.shown} is none of this project's: {one_line(reason).rstrip('.')}."
    )


def refused(address: Address, told: object) -> EndpointError:
    """The server says what is wrong with the request."""
    text = one_line(told)
    if "signature" in text and text.rstrip(".").endswith(("not found", "not found in signature def")):
        return not_this_model(address, text)
    return RefusedError(address, f"refused the request: {text}")


def failed(address: Address, told: object) -> EndpointError:
    """The server met a fault of its own."""
    return RefusedError(address, f"failed to answer the request: {one_line(told)}")


def _proxy(parts: SplitResult) -> str | None:
    """The proxy that the environment names: ``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy``."""
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    names = (parts.scheme, "all") if parts.scheme in REST_SCHEMES else _GRPC_PROXIES
    proxy = next(filter(None, map(getproxies().get, names)), None)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    # No proxy leads to this machine itself.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without_password(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def one_line(text: object) -> str:
    """A server's or a library's words, which may be pages."""
    joined = printable(" ".join(str(text).split()))
    return joined if len(joined) <= _LONGEST_TOLD else f"{joined[:_LONGEST_TOLD]}…"
