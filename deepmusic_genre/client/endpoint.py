"""What an endpoint is asked for, whatever it speaks, and the lines that tell why there is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

SIGNATURE = "serving_examples"
"""Takes serialized examples, which may wait together in the server's batches whatever their lengths."""

MAX_ANSWER_BYTES = 16 << 20
"""Longest answer that is read: a real one has some kilobytes."""

REST_SCHEMES = ("http", "https")
GRPC_SCHEMES = ("grpc", "grpcs")

_LONGEST_TOLD = 300
_LARGEST_VERSION = 2**63 - 1


class EndpointError(Exception):
    """Why there is no answer, in a line that says what to do."""


class PassingError(EndpointError):
    """What may be better at the next attempt: a prediction changes nothing, so it may be asked for again."""


class NotServedError(Exception):
    """The server knows no such model or version; its message is the server's."""


@dataclass(frozen=True)
class Address:
    """Where an endpoint is, and what is asked of it there.

    Attributes:
        parts: of the URL.
        model: the model's name.
        version: one of its versions, None for the newest.
    """

    parts: SplitResult
    model: str
    version: int | None

    @property
    def shown(self) -> str:
        """The URL for messages, without a password."""
        return self.parts._replace(netloc=self.parts.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True)
class VersionStatus:
    """A version that the server knows: its state (``AVAILABLE``, ``LOADING``, ``END``, …), and what went wrong."""

    version: int
    state: str
    fault: str = ""


class Transport(Protocol):
    """A way to an endpoint. ``predict`` and ``versions`` raise EndpointError, or TimeoutError."""

    def predict(self, examples: Sequence[bytes], timeout_s: float) -> Any:
        """Asks the model once.

        Returns:
            The signature's outputs by name, as lists.

        Raises:
            NotServedError: there is no such model or version.
        """

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
    return Address(parts, model, version)


def no_server(address: Address, reason: object) -> PassingError:
    """Nobody listens there."""
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
    return EndpointError(f"{address.shown} refused the request: {text}")


def one_line(text: object) -> str:
    """A server's or a library's words, which may be pages."""
    joined = " ".join(str(text).split())
    return joined if len(joined) <= _LONGEST_TOLD else f"{joined[:_LONGEST_TOLD]}…"
