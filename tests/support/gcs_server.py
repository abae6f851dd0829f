"""A stand-in for Google Cloud Storage, for the clients of TensorFlow (C++, libcurl) and of Beam (google-cloud-storage).

TensorFlow asks https://www.googleapis.com and nobody else: the server is its proxy, too, and shows it a certificate.
"""

import base64
import email
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google_crc32c import value as crc32c

BUCKET = "bucket"

_HOSTS = ("www.googleapis.com", "storage.googleapis.com")
_BEGINNING = 1_700_000_000
_TOKENS = "/token"
_FIXED: dict[str, dict[str, Any]] = {
    _TOKENS: {"access_token": "tests", "expires_in": 3600, "token_type": "Bearer"},
    f"/storage/v1/b/{BUCKET}": {"kind": "storage#bucket", "name": BUCKET, "location": "US", "projectNumber": "1"},
    # Newer clients ask it before they rename.
    f"/storage/v1/b/{BUCKET}/storageLayout": {
        "kind": "storage#storageLayout",
        "bucket": BUCKET,
        "location": "US",
        "locationType": "multi-region",
        "hierarchicalNamespace": {"enabled": False},
    },
}
_API = f"(?:/download)?/storage/v1/b/{BUCKET}"
_COPY = re.compile(rf"{_API}/o/([^/]+)/(rewrite|copy)To/b/{BUCKET}/o/(.+)")
_OBJECT = re.compile(rf"{_API}/o/(.+)")
_CONTENT = re.compile(rf"/{BUCKET}/(.+)")

Headers = dict[str, str]
"""By name, in lower case."""


@dataclass
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Headers
    body: bytes


@dataclass
class Answer:
    status: int = 200
    content: bytes = b""
    headers: Headers = field(default_factory=dict)


def _json(content: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"content-type": "application/json"})


def _missing(name: str) -> Answer:
    return _json({"error": {"code": 404, "message": f"No such object: {name}"}}, 404)


class Bucket:
    """The one bucket, and the JSON API to it.

    Attributes:
        objects: content and generation by name.
        seen: is called after each request.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.seen: Callable[[], None] = lambda: None
        self._uploads: list[tuple[str, bytearray]] = []
        self._generations = count(1)

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in list(self.objects) if name.startswith(prefix))

    def answer(self, request: Request) -> Answer:
        answer = self._answer(request)
        self.seen()
        return answer

    def _answer(self, request: Request) -> Answer:
        if request.path == f"/upload/storage/v1/b/{BUCKET}/o":
            return self._upload(request)
        if copy := _COPY.fullmatch(request.path):
            return self._copy(unquote(copy[1]), unquote(copy[3]), rewrite=copy[2] == "rewrite")
        if found := _OBJECT.fullmatch(request.path) or _CONTENT.fullmatch(request.path):
            return self._object(request, unquote(found[1]), content=found.re is _CONTENT)
        if re.fullmatch(f"{_API}/o", request.path):
            return self._list(request.query.get("prefix", ""), request.query.get("delimiter", ""))
        return _json(_FIXED[request.path]) if request.path in _FIXED else _missing(request.path)

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        """Makes an object, and answers with what the API says of it."""
        self.objects[name] = (content, next(self._generations))
        return self._resource(name)

    def _resource(self, name: str) -> dict[str, Any]:
        content, generation = self.objects[name]
        made = f"{datetime.fromtimestamp(_BEGINNING + generation, timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "crc32c": _checksum(content),
            "updated": made,
            "timeCreated": made,
        }

    def _list(self, prefix: str, delimiter: str) -> Answer:
        items, folders = [], set()
        for name in self.names(prefix):
            head, below, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if below:
                folders.add(prefix + head + delimiter)
            else:
                items.append(self._resource(name))
        return _json({"kind": "storage#objects", "items": items, "prefixes": sorted(folders)})

    def _copy(self, source: str, target: str, *, rewrite: bool) -> Answer:
        if source not in self.objects:
            return _missing(source)
        resource = self.put(target, self.objects[source][0])
        if not rewrite:
            return _json(resource)
        sizes = {"totalBytesRewritten": resource["size"], "objectSize": resource["size"]}
        return _json({"kind": "storage#rewriteResponse", "done": True, "resource": resource, **sizes})

    def _object(self, request: Request, name: str, *, content: bool) -> Answer:
        if name not in self.objects:
            return _missing(name)
        if request.method == "DELETE":
            del self.objects[name]
            return Answer(204)
        if content or request.query.get("alt") == "media":
            return _part(self.objects[name][0], request.headers.get("range"))
        return _json(self._resource(name))

    def _upload(self, request: Request) -> Answer:
        kind, name = request.query.get("uploadType"), request.query.get("name")
        if kind == "media" and name:
            return _json(self.put(name, request.body))
        if kind == "multipart":
            about, content = (cast(bytes, part.get_payload(decode=True)) for part in _parts(request))
            return _json(self.put(json.loads(about)["name"], content))
        if request.method == "POST":
            self._uploads.append((name or json.loads(request.body)["name"], bytearray()))
            host = request.headers["host"]
            scheme = "https" if host in _HOSTS else "http"
            upload = f"{scheme}://{host}/upload/storage/v1/b/{BUCKET}/o?upload_id={len(self._uploads) - 1}"
            return Answer(headers={"Location": upload})
        name, received = self._uploads[int(request.query["upload_id"])]
        received += request.body
        total = request.headers.get("content-range", "/0").rpartition("/")[2]
        if total == "*" or int(total) > len(received):
            return Answer(308, headers={"range": f"bytes=0-{len(received) - 1}"} if received else {})
        return _json(self.put(name, bytes(received)))


def _checksum(content: bytes) -> str:
    return base64.b64encode(crc32c(content).to_bytes(4, "big")).decode()


def _part(content: bytes, asked: str | None) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    headers = {"x-goog-hash": f"crc32c={_checksum(content)}", "content-type": "application/octet-stream"}
    if not found:
        return Answer(200, content, headers)
    start, end = int(found[1]), int(found[2] or len(content)) + 1
    if start >= len(content):
        return Answer(416, headers={"content-range": f"bytes */{len(content)}"})
    part = content[start:end]
    return Answer(206, part, {**headers, "content-range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"})


def _parts(request: Request) -> list[Message]:
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    return cast("list[Message]", email.message_from_bytes(head + request.body).get_payload())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    bucket: ClassVar[Bucket]
    tls: ClassVar[ssl.SSLContext]

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass

    def _any(self) -> None:
        request = self._request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self._body())
        answer = self._batch(request) if request.path.startswith("/batch/") else self.bucket.answer(request)
        self.send_response(answer.status)
        for name, value in {**answer.headers, "content-length": str(len(answer.content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - http.server looks for these

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _request(self, method: str, target: str, headers: Headers, body: bytes) -> Request:
        url = urlsplit(target)
        return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)

    def _batch(self, request: Request) -> Answer:
        answers = []
        for part in _parts(request):
            line, _, rest = cast(str, part.get_payload()).partition("\n")
            head, _, body = rest.partition("\n\n")
            method, target, _ = line.split()
            headers = {name.lower(): value for name, value in email.message_from_string(head).items()}
            answer = self.bucket.answer(self._request(method, target, headers, body.encode()))
            lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            answers.append(
                "--answer\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {answer.status} -\r\n{lines}\r\n{answer.content.decode()}\r\n"
            )
        return Answer(
            content=("".join(answers) + "--answer--").encode(),
            headers={"content-type": "multipart/mixed; boundary=answer"},
        )


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, and a file of it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in _HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "authority.pem", folder / "server.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form) + public.read_bytes())
    return public, private


def _credentials(folder: Path, url: str) -> Path:
    """A service account's: without any, Beam looks for some for twenty seconds."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "tests",
        "client_email": "tests@example.org",
        "private_key": rsa.generate_private_key(65537, 2048).private_bytes(*form).decode(),
        "token_uri": f"{url}{_TOKENS}",
    }
    file = folder / "account.json"
    file.write_text(json.dumps(account))
    return file


@contextmanager
def gcs_server(folder: Path) -> Iterator[tuple[Bucket, dict[str, str]]]:
    """Serves a bucket for as long as the context lasts.

    Yields:
        What is in it, and what leads the clients of a process to it in its environment.
    """
    public, private = _certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(private)
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket, "tls": tls}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield (
            bucket,
            {
                "STORAGE_EMULATOR_HOST": url,
                "https_proxy": url,
                "CURL_CA_BUNDLE": str(public),
                "GOOGLE_APPLICATION_CREDENTIALS": str(_credentials(folder, url)),
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "tests",
                "NO_GCE_CHECK": "true",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
