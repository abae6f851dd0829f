"""A real server of S3 on the loopback, moto from PyPI."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from components.storage import s3

NAME = "deepmusic"
BUCKET = f"{s3.SCHEME}{NAME}"


class Store:
    """The bucket's content, seen by a client of the tests' own."""

    def __init__(self, endpoint: str) -> None:
        self._client = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=NAME)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=NAME, Key=key, Body=content)

    def put_folder(self, folder: Path, key: str) -> str:
        """Uploads a folder's files; its URI."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{key}/{file.relative_to(folder)}", file.read_bytes())
        return f"{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=NAME, Key=key)["Body"].read())

    def names(self, prefix: str = "") -> list[str]:
        """The keys of files below a prefix, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return sorted(key for key in keys if not key.endswith("/"))

    @contextmanager
    def refusing(self, action: str, keys: str) -> Iterator[None]:
        """Takes a right away, as ``s3:PutObject``, for the keys of a pattern."""
        statement: dict[str, Any] = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": f"arn:aws:s3:::{NAME}/{keys}",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._client.put_bucket_policy(Bucket=NAME, Policy=policy)
        try:
            yield
        finally:
            self._client.delete_bucket_policy(Bucket=NAME)


@contextmanager
def s3_server() -> Iterator[Store]:
    """Starts the server; this process's environment leads to it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # What moto holds is the process's, not the server's.
    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        patch.setenv("AWS_REGION", "us-east-1")
        s3.client.cache_clear()
        yield Store(endpoint)
    s3.client.cache_clear()
    server.stop()
