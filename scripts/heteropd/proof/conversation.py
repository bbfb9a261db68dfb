"""The connectivity requests: the source document's, and a short completion and chat, plain and streamed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

from heteropd.config.validation import Settings
from heteropd.engine_api.client import CHAT, COMPLETIONS, AnswerProblem, Endpoint
from heteropd.engine_api.requests import Json
from heteropd.engine_api.responses import EngineResponse
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.progress import Phases

T = TypeVar("T")
_PHASE = "connectivity"
_TOP = 5  # enough alternatives to recognise a tie between a plain and a streamed answer


@dataclass(frozen=True)
class ApiAnswers:
    """The answers; a sentence stands for an answer that did not come. ``plain`` and ``streamed`` are keyed
    ``completion`` and ``chat``."""

    document: Json | str
    plain: dict[str, Json | str]
    streamed: dict[str, EngineResponse | str]

    def prompt_tokens(self) -> int:
        """Of all five requests, as the answers state them; a streamed request has its plain twin's prompt."""
        return _prompt_tokens(self.document) + 2 * sum(map(_prompt_tokens, self.plain.values()))


class ApiRequests:
    """Starts all requests at once; `end` waits for the answers."""

    REQUESTS: ClassVar[int] = 5

    def __init__(self, router: Endpoint, model: str, settings: Settings, phases: Phases) -> None:
        phases.begin(_PHASE, self.REQUESTS)

        def start(send: Callable[[], T]) -> Future[T | str]:
            return side_by_side([partial(_or_problem, send, phases)], at_once=1)[0]

        document = {"model": model, **settings.request.model_dump()}
        bodies = _short_bodies(model, settings)
        self._document = start(partial(router.post, COMPLETIONS, document))
        self._plain = {kind: start(partial(router.post, path, body)) for kind, (path, body) in bodies.items()}
        self._streamed = {
            kind: start(partial(router.stream, path, body)) for kind, (path, body) in bodies.items()
        }

    def over(self) -> bool:
        """Whether every answer is there."""
        plain = [self._document, *self._plain.values()]
        return all(future.done() for future in plain) and all(
            future.done() for future in self._streamed.values()
        )

    def end(self) -> ApiAnswers:
        return ApiAnswers(
            self._document.result(),
            {kind: future.result() for kind, future in self._plain.items()},
            {kind: future.result() for kind, future in self._streamed.items()},
        )


def _short_bodies(model: str, settings: Settings) -> dict[str, tuple[str, Json]]:
    short = settings.short
    common: Json = {"model": model, "max_tokens": short.max_tokens, "temperature": 0}
    messages = [{"role": "user", "content": short.message}]
    return {
        "completion": (COMPLETIONS, {**common, "prompt": short.prompt, "logprobs": _TOP}),
        "chat": (CHAT, {**common, "messages": messages, "logprobs": True, "top_logprobs": _TOP}),
    }


def _or_problem(send: Callable[[], T], phases: Phases) -> T | str:
    try:
        return send()
    except AnswerProblem as problem:
        return str(problem)
    finally:
        phases.step(_PHASE)


def _prompt_tokens(answer: Json | str) -> int:
    count = 0 if isinstance(answer, str) else (answer.get("usage") or {}).get("prompt_tokens")
    return count if isinstance(count, int) else 0
