"""A rater by HTTP: what a browser does, without one. For rehearsals and tests."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from palette_bench.common.errors import InputError


@dataclass(slots=True)
class Reply:
    """One answer of a server, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Rater:
    """A connection to a study, kept open."""

    address: str
    session: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    _connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request. Raises OSError and HTTPException where there is no server."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=20.0)
        sent = dict(headers or {})
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        start = time.perf_counter()
        try:
            self._connection.request(method, path, body=body, headers=sent)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        found = {name.lower(): value for name, value in response.getheaders()}
        if cookie := found.get("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return Reply(response.status, found, data, time.perf_counter() - start)

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def enter(self, landing: str = "/", fields: Mapping[str, str] | None = None) -> None:
        """Open a link and consent. Raises InputError where the study lets nobody in."""
        reply = self.ask("GET", landing)
        if reply.status == 200:
            ticket = landing.rpartition("/seat/")[2] if "/seat/" in landing else ""
            form = {"agree": "yes", "ticket": ticket, **(fields or {})}
            reply = self.ask(
                "POST",
                "/begin",
                body=urlencode(form).encode(),
                headers={"content-type": "application/x-www-form-urlencoded"},
            )
        if reply.status != 303:
            raise InputError("the study let nobody in", where=landing, expected=303, found=reply.status)
        self.session = reply.headers["location"]

    def next(self) -> dict[str, Any]:
        """What comes next."""
        reply = self.ask("GET", f"{self.session}next")
        found: dict[str, Any] = reply.json
        return found

    def image(self, name: str) -> Reply:
        """An image of the current trial."""
        return self.ask("GET", f"{self.session}image/{name}")

    def answer(self, trial: str, choice: str, **measured: object) -> Reply:
        """Send an answer."""
        body = json.dumps({"trial": trial, "choice": choice, "measured": measured}).encode()
        return self.ask("POST", f"{self.session}answer", body=body, headers={"content-type": "application/json"})
