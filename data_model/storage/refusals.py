"""What an object store refuses, in words: what was asked, why it went wrong, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from deeptracker.data_model.errors import RunAccessError, RunUnreachableError
from deeptracker.data_model.storage.address import Address

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws or a role (AWS_SKIP_SIGNATURE=true reads a "
    "public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or what `gcloud auth application-default login` leaves",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or what `az login` leaves",
}
_STATUS = re.compile(r"status code: (\d{3})[^:<\n]*")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_ASKED_MACHINE = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "CredentialProvider", "credential")
"""Where credentials are asked for when the environment has none."""


@contextmanager
def refusals(address: Address, name: str = "") -> Iterator[None]:
    """Turn what the store says into FileNotFoundError, RunAccessError or RunUnreachableError.

    The store's own words are cut short: they may hold a signed link.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise RunAccessError(_no_bucket(address)) from None
        raise FileNotFoundError(f"There is no {address.url}/{name}.") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise RunAccessError(_refused(address, str(error))) from None
    except exceptions.BaseError as error:
        raise explain(address, str(error)) from None


def explain(address: Address, said: str) -> RunAccessError:
    """Return the error that tells why a request went wrong."""
    status, code = _STATUS.search(said), _CODE.search(said)
    number = status[1] if status else ""
    if any(one in said for one in _ASKED_MACHINE) and address.bucket not in _asked(said):
        return RunAccessError(
            f"There are no credentials for {address.url}. Give them as {CREDENTIALS.get(address.scheme, 'usual')}."
        )
    if code and code[1] == "NoSuchBucket":
        return RunAccessError(_no_bucket(address))
    if number in ("401", "403"):
        return RunAccessError(_refused(address, said))
    if number in ("301", "307") or "redirect" in said.lower():
        return RunAccessError(
            f"{address.url} lies in another region than the one asked: set AWS_REGION to the bucket's."
        )
    reason = f"it answers {number} {code[1] if code else ''}".strip() if number else "it does not answer"
    return RunUnreachableError(
        f"{address.url} cannot be reached ({reason}). Check the network and the address, then try again."
    )


def _asked(said: str) -> str:
    """Return the place that a failed request went to."""
    found = re.search(r"performing \w+ (\S+?)(\?|\s|$)", said)
    return found[1] if found else ""


def _no_bucket(address: Address) -> str:
    return f"There is no bucket {address.bucket!r} for {address.url}. Check its name, the region and the endpoint."


def _refused(address: Address, said: str) -> str:
    code = _CODE.search(said)
    reason = f" ({code[1]})" if code else ""
    means = CREDENTIALS.get(address.scheme)
    return f"No permission for {address.url}{reason}. " + (
        f"Check the credentials: {means}." if means else "Ask its owner for access."
    )
