"""A check of a server: it is asked what `_questions` has, and its answers are observed, and compared."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sansio_step import APIError, Message, MessageRequest, Timeouts

from .._options import Options, Unpack, UpstreamOptions
from .._reader import Wanted
from ._comparison import compare
from ._findings import Finding, Tally
from ._observation import Observation
from ._questions import QUESTIONS, WRONG, Question
from ._times import Limits

if TYPE_CHECKING:
    from ._asking import Asking

__all__ = ["ServerCheck", "check_server"]

# A key that is refused, an empty account and an address that is not there are the same for each question.
_HOPELESS: Final = frozenset({401, 402, 403, 404})


class ServerCheck:
    """A check of a server: see `check_server` for the arguments. `findings` can be asked at any time, `run` once."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        extra: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        limits: Limits | None = None,
        headers: Mapping[str, str] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        **options: Unpack[UpstreamOptions],
    ) -> None:
        # `check_capture` needs no package beside the core's, and this needs those of a client.
        from ._asking import Asking, request_of  # noqa: PLC0415

        fields = [{"model": model, **question.fields(), **(extra or {})} for question in QUESTIONS]
        self._requests: list[MessageRequest] = [request_of(each) for each in fields]
        self._limits = limits or Limits()
        times = Timeouts(
            connect=min(10.0, timeout), first_event=timeout, idle=timeout, stall=timeout, caller=None, total=timeout
        )
        given: Options = {"timeouts": times, "base_url": base_url, "headers": headers}
        given.update(options)  # type: ignore[typeddict-item]  # mypy wants every key, and these are all among them
        self._client = Asking(clock, given)
        self._done: list[Finding] = []
        self._now: Observation | None = None

    @property
    def findings(self) -> list[Finding]:
        """What is found so far, question by question, the worst of each first."""
        return self._done + (self._now.findings if self._now is not None else [])

    def run(self, listener: Callable[[str], object] | None = None) -> None:
        """Ask all questions; `listener` is told each before it is asked. Whatever the server does is a finding."""
        left = 2 * len(QUESTIONS) + len(WRONG)
        client = self._client
        with client:
            for question, request in zip(QUESTIONS, self._requests, strict=True):
                messages: list[Message] = []
                for wanted, how in ((Wanted.STREAM, "streamed"), (Wanted.MESSAGE, "not streamed")):
                    message, hopeless = self._ask(client, request, wanted, f"{question.name}, {how}", listener)
                    left -= 1
                    if hopeless:
                        self._give_up(left)
                        return
                    if message is not None:
                        messages.append(message)
                self._compare(question, messages, client)
            for wrong in WRONG:
                spoilt = wrong.spoil(self._requests[0])
                self._ask(client, spoilt, wrong.wanted, wrong.name, listener, refusal=True)

    def _ask(
        self,
        client: Asking,
        request: MessageRequest,
        wanted: Wanted,
        name: str,
        listener: Callable[[str], object] | None,
        *,
        refusal: bool = False,
    ) -> tuple[Message | None, bool]:
        """Ask one thing; its message if that is whole, and whether there is no hope for others."""
        if listener is not None:
            listener(name)
        seen = self._now = Observation(name, wanted=wanted, limits=self._limits, mask=client.mask, refusal=refusal)
        client.ask(request, wanted, seen)
        # An answer can be 64 MiB, and its error's traceback holds it, in a cycle. The collector counts objects, not bytes:
        # left to itself it let eight such answers take 2 GB.
        gc.collect()
        self._done += seen.findings
        self._now = None
        if seen.status is None:
            # A document's head comes when the answer is made: a slow model is not a server that hangs.
            is_slow = wanted is Wanted.MESSAGE and "timed_out" in seen.tally
            return None, not is_slow
        return seen.message, isinstance(seen.error, APIError) and seen.error.status in _HOPELESS

    def _compare(self, question: Question, messages: list[Message], client: Asking) -> None:
        tally = Tally(question.name)
        if question.tools and messages and not any(message.tool_uses for message in messages):
            tally.add("no_tool_call", "neither answer has a call")
        if len(messages) == 2:
            compare(messages[0], messages[1], tally, client.mask.text)
        self._done += tally.findings()

    def _give_up(self, left: int) -> None:
        tally = Tally("")
        tally.add("not_asked", f"{left} further questions", count=left)
        self._done += tally.findings()


def check_server(
    base_url: str,
    *,
    model: str,
    extra: Mapping[str, Any] | None = None,
    timeout: float = 120.0,
    limits: Limits | None = None,
    headers: Mapping[str, str] | None = None,
    **options: Unpack[UpstreamOptions],
) -> list[Finding]:
    """What is wrong with a server's answers, question by question; nothing if it is good.

    It is asked a short text, a tool call and a long text, each streamed and not, which costs some 2,000 tokens; the two
    answers are compared. Then it is asked without a model and for 0 tokens, which it should refuse. `base_url` is given
    without `/v1`. `extra` are further fields of each request, or others for its own (`{"temperature": 0}`). `timeout` are
    the seconds that each answer may take. `headers` and the other options are those of `Client`: `api_key` (else
    STEP_API_KEY of the environment), `auth` and so on. The key shows in no finding.

    Raises ValueError or TypeError for arguments that can't be used, ModuleNotFoundError without the extra `anyio`. A server
    that refuses, hangs or breaks off is a finding. One that can't be reached, or refuses the key, isn't asked further.
    """
    check = ServerCheck(base_url, model=model, extra=extra, timeout=timeout, limits=limits, headers=headers, **options)
    check.run()
    return check.findings
