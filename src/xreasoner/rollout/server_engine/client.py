"""One request at a time to a server: paced, tried again with patience, and silent about the key."""

import email.utils
import os
import random
import threading
import time
from importlib.util import find_spec
from itertools import count
from typing import Any

from xreasoner.rollout.server_engine.settings import Server
from xreasoner.rollout.server_engine.wire import Said, read_completion

FIRST_WAIT, LONGEST_WAIT, LONGEST_HOLD = 0.5, 60.0, 600.0
"""Seconds: between tries, doubled each time; and the longest a server may ask us to wait."""
_SHUT_OUT = (401, 403, 404)
_FOR_NOW = (408, 409, 425, 429)


class RefusedError(Exception):
    """The server will not answer this one request, however often it is asked."""


class SilentError(Exception):
    """The request got no answer in all its tries."""


class Pace:
    """No more requests than so many a minute, evenly spread; and none while the server asked for a pause."""

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

    def hold(self, seconds: float) -> None:
        """For all who share this pace: a rate limit that one met is everybody's."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Client:
    def __init__(self, server: Server) -> None:
        if find_spec("openai") is None:
            raise ValueError("a server is asked with the openai client: pip install 'xreasoner[api]'")
        import openai

        self._server, self._pace = server, Pace(server.requests_per_minute)
        self._key = os.environ.get(server.key_from, "")
        self._client = openai.OpenAI(
            base_url=server.url, api_key=self._key or "none", max_retries=0, timeout=server.seconds
        )

    def ask(self, **body: Any) -> Said:
        import openai

        for tried in count():
            self._pace.wait()
            try:
                return read_completion(self._client.chat.completions.create(model=self._server.model, **body))
            except (openai.OpenAIError, AttributeError, IndexError) as error:
                why = self._judge(error)
                asked_to_wait = retry_after(error)
            if tried >= self._server.retries:
                raise SilentError(why) from None
            if asked_to_wait is not None:
                self._pace.hold(asked_to_wait)
            time.sleep(max(backoff(tried), asked_to_wait or 0.0))
        raise AssertionError("unreachable")

    def owner(self) -> str:
        """Whose server it is, as its list of models says."""
        import openai

        try:
            models = self._client.with_options(max_retries=2).models.list().data
        except (openai.OpenAIError, AttributeError):
            return ""  # many APIs have no such list; a server that is not there will say so when asked
        return str(models[0].owned_by) if models else ""

    def no_answer(self, why: str) -> ValueError:
        return ValueError(
            f"{self._server.url}: the server did not answer: {why}; "
            "what was answered is kept, run again to go on"
        )

    def _judge(self, error: Exception) -> str:
        """Why to try again; what is not worth it is raised."""
        import openai

        if not isinstance(error, openai.OpenAIError):
            return "200: the answer is no chat completion"
        why = self._first_line(error)
        if not isinstance(error, openai.APIStatusError):
            return why
        status = error.status_code
        if status in _SHUT_OUT or error.code == "insufficient_quota":
            raise self.no_answer(why) from None
        if status in _FOR_NOW or status >= 500:
            return f"{status}: {why}"
        raise RefusedError(f"{status}: {why}") from None

    def _first_line(self, error: Exception) -> str:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        # A server may quote the key it did not like.
        return (line.replace(self._key, "***") if self._key else line)[:300]


def backoff(tried: int) -> float:
    """Longer each time, and not for all at the same moment."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2**tried) * random.uniform(0.5, 1.0)


def retry_after(error: Exception) -> float | None:
    """In seconds or as a date."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(until) - time.time() if until else 0.0
    return min(max(seconds, 0.0), LONGEST_HOLD)
