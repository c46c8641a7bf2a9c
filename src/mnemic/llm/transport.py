"""One request over HTTP: a reply, or a failure that is told apart by whether another try may help."""

import json
from contextlib import suppress
from functools import cache
from typing import Any

from mnemic.errors import MissingExtra
from mnemic.llm.cache import Reply
from mnemic.llm.clock import Clock
from mnemic.llm.endpoints import Endpoint
from mnemic.llm.errors import EndpointFailed, EndpointRefused
from mnemic.llm.protocol import Usage
from mnemic.llm.request import JsonMode, Request, estimate_tokens
from mnemic.llm.retries import read_retry_after

__all__ = ["Transport", "TryFailed"]

_MAY_PASS = (408, 409, 425, 429)
_NO_USE = (401, 403, 404)
_WORDS_SHOWN = 300


class TryFailed(Exception):
    """This try failed and another may not."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Transport:
    """Connections that all threads share. The HTTP library is loaded when the first is made.

    Raises:
        MissingExtra: it is not installed.
    """

    def __init__(self, json_mode: JsonMode, clock: Clock) -> None:
        try:
            import httpx2
        except ImportError:
            raise MissingExtra("mnemic.llm", "llm") from None
        self._errors: Any = httpx2
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx2.Client(limits=limits, verify=_trusted_authorities())
        self._json_mode: JsonMode = json_mode
        self._clock = clock

    def post(self, endpoint: Endpoint, request: Request) -> Reply:
        """
        Raises:
            TryFailed: overloaded, broken, too slow, or an answer that makes no sense.
            EndpointRefused, EndpointFailed: asking again would be answered the same.
        """
        key = endpoint.key()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        timeout = self._errors.Timeout(endpoint.timeout, connect=min(30.0, endpoint.timeout), pool=None)
        try:
            response = self._client.post(
                endpoint.url, content=request.body(self._json_mode), headers=headers, timeout=timeout
            )
        except self._errors.TimeoutException:
            raise TryFailed(f"{endpoint.base_url} gave no answer in {endpoint.timeout:g} s") from None
        except self._errors.HTTPError as broken:
            said = _without(str(broken) or type(broken).__name__, key)
            raise TryFailed(f"{endpoint.base_url} cannot be reached: {said}") from None
        if response.status_code != 200:
            self._refused(endpoint, response, key)
        return self._reply(endpoint, request, response, key)

    def close(self) -> None:
        self._client.close()

    def _refused(self, endpoint: Endpoint, response: Any, key: str | None) -> None:
        status = int(response.status_code)
        reason = f"{endpoint.base_url} answered {status}: {_words(response.text, key)}"
        if status in _MAY_PASS or status >= 500:
            raise TryFailed(reason, read_retry_after(response.headers.get("retry-after"), self._clock.wall()))
        if status in (401, 403):
            raise EndpointRefused(f"{reason}; look at the endpoint's api_key or api_key_env")
        if status == 404:
            raise EndpointRefused(f"{reason}; look at base_url, which often ends in /v1, and at the model's name")
        raise EndpointFailed(reason)

    def _reply(self, endpoint: Endpoint, request: Request, response: Any, key: str | None) -> Reply:
        try:
            answer = json.loads(response.content)
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
        except (ValueError, LookupError, TypeError, RecursionError):
            said = _words(response.text, key)
            raise TryFailed(f"{endpoint.base_url} answered 200 with what is no chat completion: {said}") from None
        text = _whole_characters(text or "")
        return Reply(text, _usage(answer, request, text), choice.get("finish_reason") == "length")


@cache
def _trusted_authorities() -> Any:
    """Read once in a process: it takes a tenth of a second."""
    import httpx2

    return httpx2.create_ssl_context()


def _usage(answer: dict[str, Any], request: Request, text: str) -> Usage:
    said = answer.get("usage")
    if isinstance(said, dict):
        prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
        if isinstance(prompt, int) and isinstance(completion, int) and min(prompt, completion) >= 0:
            return Usage(prompt, completion)
    return Usage(request.prompt_estimate, estimate_tokens(text), estimated=True)


def _whole_characters(text: str) -> str:
    """Half a surrogate pair, which JSON can spell and no file can hold, becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _words(body: str, key: str | None) -> str:
    """What a server said, on one line, shortened, without the key that some repeat."""
    said: Any = body
    with suppress(ValueError, RecursionError):
        said = json.loads(body)
    for name in ("error", "message", "detail"):
        said = said.get(name, said) if isinstance(said, dict) else said
    line = " ".join((said if isinstance(said, str) else json.dumps(said)).split())
    line = _without(line, key)
    return (line[:_WORDS_SHOWN] + "…" if len(line) > _WORDS_SHOWN else line) or "nothing"


def _without(text: str, key: str | None) -> str:
    return text.replace(key, "[key]") if key else text
