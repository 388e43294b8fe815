"""Sends single requests: rate-limited, retried with backoff, and never revealing the API key."""

import email.utils
import os
import random
import threading
import time
from importlib.util import find_spec
from itertools import count
from typing import Any

from xreasoner.recipe.settings import ServerSettings
from xreasoner.rollout.server_engine.chat_protocol import Completion, read_completion

FIRST_WAIT, LONGEST_WAIT, LONGEST_PAUSE = 0.5, 60.0, 600.0
"""Seconds between retries, doubled each time; and the longest `Retry-After` that is obeyed."""
_FATAL = (401, 403, 404)
_TEMPORARY = (408, 409, 425, 429)


class RequestRejectedError(Exception):
    """The server rejected this request; a retry would not help."""


class NoResponseError(Exception):
    """The request got no answer after all retries."""


class RateLimiter:
    """Spaces requests evenly in time, and pauses all of them while the server asks to wait."""

    def __init__(self, per_minute: float | None) -> None:
        self._between = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._between
        time.sleep(mine - now)

    def pause(self, seconds: float) -> None:
        """Pauses every thread: a rate limit applies to all requests."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Client:
    def __init__(self, settings: ServerSettings, url: str) -> None:
        if find_spec("openai") is None:
            raise ValueError("the server engine needs the openai client: pip install 'xreasoner[api]'")
        import openai

        self._url, self._settings, self._limiter = url, settings, RateLimiter(settings.requests_per_minute)
        self._key = os.environ.get(settings.key_from, "")
        self._client = openai.OpenAI(
            base_url=url, api_key=self._key or "none", max_retries=0, timeout=settings.seconds
        )

    def send(self, **body: Any) -> Completion:
        import openai

        for attempt in count():
            self._limiter.wait()
            try:
                response = self._client.chat.completions.create(model=self._settings.model, **body)
                return read_completion(response)
            except (openai.OpenAIError, AttributeError, IndexError) as error:
                why = self._reason_to_retry(error)
                retry_seconds = retry_after(error)
            if attempt >= self._settings.retries:
                raise NoResponseError(why) from None
            if retry_seconds is not None:
                self._limiter.pause(retry_seconds)
            time.sleep(max(backoff(attempt), retry_seconds or 0.0))
        raise AssertionError("unreachable")

    def owner(self) -> str:
        """The `owned_by` of its first model, which tells what kind of server it is."""
        import openai

        try:
            models = self._client.with_options(max_retries=2).models.list().data
        except (openai.OpenAIError, AttributeError):
            return ""  # many APIs have no such list; an unreachable server is reported by the first request
        return str(models[0].owned_by) if models else ""

    def no_answer(self, why: str) -> ValueError:
        return ValueError(
            f"{self._url}: the server did not answer: {why}; "
            "the answers so far are saved, run again to resume"
        )

    def _reason_to_retry(self, error: Exception) -> str:
        """The reason for a retry; raises if a retry would not help."""
        import openai

        if not isinstance(error, openai.OpenAIError):
            return "200: the response is not a chat completion"
        why = self._first_line(error)
        if not isinstance(error, openai.APIStatusError):
            return why
        status = error.status_code
        if status in _FATAL or error.code == "insufficient_quota":
            raise self.no_answer(why) from None
        if status in _TEMPORARY or status >= 500:
            return f"{status}: {why}"
        raise RequestRejectedError(f"{status}: {why}") from None

    def _first_line(self, error: Exception) -> str:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        # A server may quote the key that it rejected.
        return (line.replace(self._key, "***") if self._key else line)[:300]


def backoff(attempt: int) -> float:
    """Exponential, with jitter so that threads do not retry at the same moment."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0)


def retry_after(error: Exception) -> float | None:
    """The `Retry-After` header, which holds seconds or a date."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(until) - time.time() if until else 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE)
