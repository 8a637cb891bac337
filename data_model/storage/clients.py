"""The connection to an object store, with the credentials that the provider's own tools would use."""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from typing import Any

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, HTTPStore, MemoryStore, S3Store

from deeptracker.data_model.errors import RunAccessError
from deeptracker.data_model.storage.address import Address

REQUEST_SECONDS = 60
"""How long one request may take, a shard of some megabytes over a slow line included."""
RETRY_SECONDS = 15
"""How long a request that fails is tried again."""

Client = AzureStore | GCSStore | HTTPStore | MemoryStore | S3Store

_memories: dict[str, MemoryStore] = {}


def connect(address: Address) -> Client:
    """Return a client for the bucket or the host of an address; nothing is asked yet."""
    if address.scheme == "memory":
        return _memories.setdefault(address.bucket, MemoryStore())
    options: Any = {
        "client_options": {"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": _plain(address)},
        "retry_config": {
            "max_retries": 8,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=4), "base": 2},
        },
    }
    try:
        if address.web:
            return HTTPStore.from_url(f"{address.scheme}://{address.bucket}", **options)
        if address.scheme == "gs":
            return GCSStore(address.bucket, **options)
        if address.scheme == "az":
            return AzureStore(address.bucket, **options)
        return S3Store(address.bucket, **_s3_options(), **options)
    except (exceptions.BaseError, ValueError) as error:
        kind = type(error).__name__
        raise RunAccessError(f"{address.url} cannot be reached as the environment describes it ({kind}).") from None


def _plain(address: Address) -> bool:
    """Return whether an unencrypted connection is what was asked for, by the URL or the endpoint in the environment."""
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
    return address.scheme == "http" or any(os.environ.get(name, "").startswith("http://") for name in endpoints)


def _s3_options() -> dict[str, Any]:
    """Return what the environment does not tell the client itself: profiles, single sign-on and roles, by boto3."""
    found: dict[str, Any] = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
    if endpoint:
        found["endpoint"] = endpoint
    if os.environ.get("AWS_ACCESS_KEY_ID") or _true("AWS_SKIP_SIGNATURE") or not importlib.util.find_spec("boto3"):
        return found
    from boto3.session import Session
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = Session()
        if session.get_credentials() is not None:
            found["credential_provider"] = Boto3CredentialProvider(session)
    except BotoCoreError as error:
        raise RunAccessError(f"The AWS settings of this machine are not usable: {error}") from None
    return found


def _true(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
