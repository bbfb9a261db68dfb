"""Requests as users send them: the source document's, and a short completion and chat, plain and streamed.

They carry text, no ids, and no salt; what comes through the router is compared with each engine's own answer.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from heteropd.config.validation import Settings
from heteropd.engine_api.client import CHAT, COMPLETIONS, AnswerProblem, Endpoint
from heteropd.engine_api.requests import Json
from heteropd.engine_api.responses import EngineResponse
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.engine_info import messages_of
from heteropd.proof.progress import Phases

ApiKind = Literal["document", "completion", "chat"]
Answer = Json | str
"""An answer, or the sentence that came instead."""


@dataclass(frozen=True)
class ApiAnswers:
    """What came through the router. ``document`` is the source document's request word for word, ``plain``
    and ``streamed`` are by kind and ask for log-probabilities as well."""

    document: Answer
    plain: Mapping[ApiKind, Answer]
    streamed: Mapping[ApiKind, EngineResponse | str]

    @property
    def count(self) -> int:
        return 1 + len(self.plain) + len(self.streamed)

    def prompt_tokens(self) -> int:
        """Of all requests, as the answers state them; a streamed request has its plain twin's prompt."""
        twins = [self.plain[kind] for kind in self.streamed]
        return sum(usage_of(answer, "prompt") for answer in (self.document, *self.plain.values(), *twins))

    def generated(self) -> int:
        """Tokens of all answers."""
        plain = sum(usage_of(answer, "completion") for answer in (self.document, *self.plain.values()))
        streams = [stream for stream in self.streamed.values() if not isinstance(stream, str)]
        return plain + sum(len(stream.steps) for stream in streams)


def usage_of(answer: Answer, part: Literal["prompt", "completion"]) -> int:
    """Tokens as an answer states them, 0 where it does not."""
    count = 0 if isinstance(answer, str) else (answer.get("usage") or {}).get(f"{part}_tokens")
    return count if isinstance(count, int) else 0


class ApiRequests:
    """Starts all requests at once; without ``chat`` where the model has no template for it."""

    def __init__(self, model: str, settings: Settings, phases: Phases, *, chat: bool) -> None:
        self._model, self._settings, self._phases, self._chat = model, settings, phases, chat

    def start(self, router: Endpoint) -> "RunningRequests":
        """Through the router."""
        bodies = self._bodies()
        streamed: dict[ApiKind, Json] = {kind: body for kind, body in bodies.items() if kind != "document"}
        phase = "connectivity"
        self._phases.begin(phase, 1 + len(bodies) + len(streamed))
        document = {"model": self._model, **self._settings.request.model_dump()}
        plain = {
            kind: self._send(phase, partial(router.post, _path(kind), body)) for kind, body in bodies.items()
        }
        streams = {
            kind: self._send(phase, partial(router.stream, _path(kind), body))
            for kind, body in streamed.items()
        }
        word_for_word = self._send(phase, partial(router.post, COMPLETIONS, document))
        return RunningRequests(word_for_word, plain, streams)

    def start_alone(self, engine: Endpoint, salt: str, *, whole: bool) -> Mapping[ApiKind, Future[Answer]]:
        """The same of one engine, the document's answer ``whole`` or only its beginning. The salt keeps the
        engine from finding in its prefix cache what it was sent."""
        bodies, wanted = self._bodies(), self._settings.request.max_tokens
        bodies["document"]["max_tokens"] = wanted if whole else min(wanted, self._settings.short.max_tokens)
        phase = f"{engine.name} as users ask"
        self._phases.begin(phase, len(bodies))
        return {
            kind: self._send(phase, partial(engine.post, _path(kind), {**body, "cache_salt": salt}))
            for kind, body in bodies.items()
        }

    def _bodies(self) -> dict[ApiKind, Json]:
        short, probes = self._settings.short, self._settings.probes
        common: Json = {"model": self._model, "temperature": 0}
        top = probes.top_logprobs
        document = self._settings.request.model_dump() | {"max_tokens": probes.max_tokens, "logprobs": top}
        completion = {"prompt": short.prompt, "max_tokens": short.max_tokens, "logprobs": top}
        bodies: dict[ApiKind, Json] = {
            "document": common | document,
            "completion": common | completion,
        }
        if self._chat:
            messages = messages_of(self._settings)
            chat = {"messages": messages, "max_tokens": short.max_tokens}
            bodies["chat"] = common | chat | {"logprobs": True, "top_logprobs": top}
        return bodies

    def _send(self, phase: str, send: Callable[[], Any]) -> Future[Any]:
        def answer() -> Any:
            try:
                return send()
            except AnswerProblem as problem:
                return str(problem)
            finally:
                self._phases.step(phase)

        return side_by_side([answer], at_once=1)[0]


@dataclass(frozen=True)
class RunningRequests:
    """Requests through the router whose answers are awaited."""

    document: Future[Answer]
    plain: Mapping[ApiKind, Future[Answer]]
    streamed: Mapping[ApiKind, Future[EngineResponse | str]]

    @property
    def futures(self) -> list[Future[Any]]:
        return [self.document, *self.plain.values(), *self.streamed.values()]

    def answers(self) -> ApiAnswers:
        return ApiAnswers(
            self.document.result(),
            {kind: future.result() for kind, future in self.plain.items()},
            {kind: future.result() for kind, future in self.streamed.items()},
        )


def _path(kind: ApiKind) -> str:
    return CHAT if kind == "chat" else COMPLETIONS
