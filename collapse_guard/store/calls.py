"""Calls to S3: what is tried again, and what every other failure means in words that name no secret."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from collapse_guard.errors import DamagedDataError, GuardError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
TRANSPORT_ERRORS = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ResponseParserError,
)
PASSING_CODES = frozenset(
    "409 429 BandwidthLimitExceeded BadDigest ConditionalRequestConflict IncompleteBody OperationAborted "
    "RequestLimitExceeded RequestTimeout SlowDown ThrottledException Throttling ThrottlingException "
    "TooManyRequestsException XAmzContentSHA256Mismatch".split()
)
DAMAGED_CODES = frozenset({"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"})
MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchVersion"})
TAKEN_CODES = frozenset({"412", "PreconditionFailed"})
NOT_DONE_CODES = DAMAGED_CODES | {"409", "ConditionalRequestConflict", "OperationAborted"}

_CREDENTIALS = (
    "the credentials are not accepted; renew them, or choose others with AWS_PROFILE or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
_DENIED = (
    "access is denied; allow these credentials s3:GetObject, s3:PutObject and s3:ListBucket there, and "
    "s3:DeleteObject below staging/ and shards/"
)
_REGION = "the bucket lies in another region than was asked; set AWS_DEFAULT_REGION to the bucket's region"
_UNKNOWN_THERE = (
    "the service or the bucket lacks something that this needs (conditional creates, checksums, Object Lock); see with "
    "`collapse-guard verify-store` what, and where checksums are refused set "
    "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
)
_NO_LOCK = "the bucket has no Object Lock; it must be created with it, with versioning on"
SENTENCES = {
    "NoSuchBucket": "there is no such bucket; create it, or correct the root",
    **dict.fromkeys(["AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"], _DENIED),
    **dict.fromkeys(["ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"], _CREDENTIALS),
    **dict.fromkeys(["AuthorizationHeaderMalformed", "PermanentRedirect", "301", "TemporaryRedirect"], _REGION),
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": "this machine's clock differs too much from the service's; set it right and try again",
    "InvalidObjectState": "the object was moved to an archive class; restore it from there first",
    "ObjectLockConfigurationNotFoundError": _NO_LOCK,
    **dict.fromkeys(["InvalidRequest", "InvalidArgument", "NotImplemented", "501", "400"], _UNKNOWN_THERE),
}
BOTO_SENTENCES = {
    "NoCredentialsError": "no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ProfileNotFound": "the profile that AWS_PROFILE names is not in ~/.aws; correct it",
    **dict.fromkeys(["NoRegionError", "InvalidRegionError"], "no usable region is set; set AWS_DEFAULT_REGION"),
    "SSLError": "the service's certificate is not trusted; set AWS_CA_BUNDLE to the authority's certificates",
}


class UnreachableStoreError(GuardError):
    """A store did not answer properly although it was asked several times; nothing is half-written."""


class WrongBytesError(Exception):
    """What arrived is not what was stored; it is asked for again."""


class MissingObjectError(UsageError):
    """There is no such object; wrong use only where none was asked for, as by a put."""


class TakenNameError(UsageError):
    """There is an object of this name already; `failures` are those of the tries before, by code."""

    def __init__(self, message: str, failures: frozenset[str]) -> None:
        super().__init__(message)
        self.failures = failures


@dataclass(frozen=True)
class Patience:
    """How often a call is tried and how long to wait in between, in seconds; each wait is twice the one before."""

    tries: int = 8
    first: float = 0.2
    longest: float = 5.0
    pause: Callable[[float], None] = time.sleep

    def wait(self, failed: int) -> None:
        """Wait after the n-th failure, by chance up to half as long, so that many writers do not return at once."""
        full = min(self.longest, self.first * 2.0 ** (failed - 1))
        self.pause(full * secrets.SystemRandom().uniform(0.5, 1))


def code_of(error: Exception) -> str:
    """S3's code for an error, or the HTTP status, or the name of what boto3 raised."""
    if not isinstance(error, boto.ClientError):
        return type(error).__name__
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z0-9]{1,64}", code) else str(_status(error))


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def may_pass(error: Exception) -> bool:
    """Say whether the same call may succeed later."""
    if isinstance(error, boto.ClientError):
        return code_of(error) in PASSING_CODES or (_status(error) >= 500 and code_of(error) not in SENTENCES)  # noqa: PLR2004 - HTTP
    return isinstance(error, (WrongBytesError, *TRANSPORT_ERRORS)) and not isinstance(error, boto.SSLError)


def damages(error: Exception) -> bool:
    """Say whether a failure is one of bytes on their way, not of the service."""
    broken = (WrongBytesError, boto.IncompleteReadError, boto.ResponseStreamingError, boto.FlexibleChecksumError)
    return isinstance(error, broken) or code_of(error) in DAMAGED_CODES


def explained(error: Exception) -> str:
    """Say what a failure that does not pass means; S3's own message is left out, since it can cite an access key."""
    code = code_of(error)
    if isinstance(error, boto.ClientError):
        said = SENTENCES.get(code, "the service refused the request; see its documentation for this code")
        return f"{said}{_region_of(error)} ({code})"
    told = BOTO_SENTENCES.get(code, "boto3 cannot use this configuration; see the AWS_ variables and ~/.aws")
    return f"{told} ({code})"


def _region_of(error: boto.ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(error.response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
    wrong = SENTENCES.get(code_of(error)) == _REGION and re.fullmatch(r"[a-z0-9-]{2,32}", region)
    return f", {region}" if wrong else ""


def insist(call: Callable[[], T], where: str, patience: Patience) -> T:
    """Make a call, and again as long as its failure may pass.

    Args:
        call: What to do.
        where: The store, or the object, for errors.
        patience: How often, and how long to wait in between.

    Returns:
        What the call gave.

    Raises:
        UsageError: The call was refused: access, bucket, region, clock, configuration.
        DamagedDataError: What arrived was wrong or cut each time.
        UnreachableStoreError: No try was answered properly.
        MissingObjectError: There is no such object.
        TakenNameError: There is such an object already.
    """
    failures: list[Exception] = []
    while len(failures) < patience.tries:
        if failures:
            patience.wait(len(failures))
        try:
            return call()
        except (boto.BotoCoreError, boto.ClientError, ResponseParserError, WrongBytesError) as error:
            _stop_unless_passing(error, where, failures)
            failures.append(error)
    return _give_up(failures[-1], where, len(failures))


def _stop_unless_passing(error: Exception, where: str, before: list[Exception]) -> None:
    """Raise what the error means unless the same call may succeed later."""
    code = code_of(error)
    if code in MISSING_CODES:
        raise MissingObjectError(f"{where}: nothing is there ({code}); check the root and AWS_ENDPOINT_URL") from None
    if code in TAKEN_CODES:
        failures = frozenset(map(code_of, before))
        raise TakenNameError(f"{where}: there is such an object already ({code})", failures) from None
    if not may_pass(error):
        raise UsageError(f"{where}: {explained(error)}") from None


def _give_up(last: Exception, where: str, tries: int) -> NoReturn:
    """Raise what it means that no try succeeded."""
    if isinstance(last, WrongBytesError):
        raise DamagedDataError(f"{where} {last} in each of {tries} tries; restore it from a copy") from None
    if damages(last):
        raise DamagedDataError(f"{where} did not arrive whole in {tries} tries ({code_of(last)}); try again") from None
    raise UnreachableStoreError(
        f"{where}: S3 gave no proper answer in {tries} tries (last: {code_of(last)}); nothing is half-written; check "
        "the network and AWS_ENDPOINT_URL and run the step again"
    ) from None
