"""One stream: its session, and the transport that carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from xds_server.fleet import Fleet, LiveGroup, ProxyStatus
from xds_server.mesh.proxy import Proxy
from xds_server.xds import node as nodes
from xds_server.xds.limits import Allowance
from xds_server.xds.request import Meaning
from xds_server.xds.session import Session
from xds_server.xds.sotw import SOTW
from xds_server.xds.states import ResourceStatus
from xds_server.xds.variant import Variant


class Transport(Protocol):
    """What a stream needs of the network. broken: what `read` and `write` raise when the connection is gone."""

    broken: tuple[type[Exception], ...]

    async def read(self) -> Any:
        """The next request as bytes; anything else when the client will send no more."""

    async def write(self, message: bytes) -> None:
        """Returns when the transport takes the next message. As long as it does not, nothing is queued for it."""

    async def abort(self, code: Any, details: str) -> None: ...

    def peer(self) -> str: ...


class TooManyRequests(Exception):
    """The client sends requests faster than it may."""


class Stream:
    """Reads requests into the session and writes what it says. Lives as long as `run`.

    admit: raises when the client may not be this proxy. requests: how many requests the client may send.
    """

    def __init__(
        self,
        fleet: Fleet,
        variant: Variant,
        only: str,
        identifier: str,
        transport: Transport,
        admit: Callable[[Proxy], None],
        requests: Allowance,
    ) -> None:
        self.node = ""
        self.loses_what_is_left_out = variant is SOTW
        self._fleet = fleet
        self._variant = variant
        self._only = only
        self._identifier = identifier
        self._transport = transport
        self._admit = admit
        self._requests = requests
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._user_agent = ""
        self._group: LiveGroup | None = None
        self._session: Session | None = None
        self._converged: object = None
        self._told: object = None  # of which configuration something was sent last
        self._saying = False
        self._writer: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._runner: asyncio.Task[Any] | None = None
        self._ending: tuple[Any, str] | None = None
        self._bug: Exception | None = None

    async def run(self) -> None:
        """Serves the stream until the client closes it. Raises ProtocolError when the client breaks the protocol."""
        self._runner = asyncio.current_task()
        try:
            await self._converse()
            if self._writer:
                await self._writer  # gRPC takes no status while a message is being written
        except self._transport.broken:
            pass
        except asyncio.CancelledError:
            if self._bug is not None:
                raise self._bug from None
            if self._ending is None:
                raise
        finally:
            if self._alarm:
                self._alarm.cancel()
            if self._writer:
                self._writer.cancel()
            if self._group:
                self._fleet.leave(self._group, self)
        if self._ending:
            await self._transport.abort(*self._ending)

    def end(self, code: Any, details: str) -> None:
        """Ends the stream with a status, once the message that is being written is out."""
        self._ending = code, details
        if self._runner and not self._saying:
            self._runner.cancel()

    def wake(self) -> None:
        """The group is offered something new, or a deadline has passed."""
        if self._session is not None and not self._saying:
            self._saying = True
            self._writer = asyncio.create_task(self._write(self._session))

    def status(self) -> ProxyStatus:
        now = self._clock()
        types = self._session.status() if self._session else ()
        return ProxyStatus(
            node=self.node,
            proxy=self._group.proxy if self._group else Proxy(),
            user_agent=self._user_agent,
            variant=self._variant.name,
            peer=self._transport.peer(),
            connected=now - self._began,
            types=tuple(msgspec.structs.replace(t, since=now - t.since if t.since else 0.0) for t in types),
        )

    def resources(self) -> Iterator[ResourceStatus]:
        """Every resource that the client should have in the end."""
        return self._session.resources() if self._session else iter(())

    async def _converse(self) -> None:
        raw = await self._transport.read()
        if not isinstance(raw, bytes):
            return
        node = self._variant.read(raw).node
        proxy = nodes.proxy(node)
        self.node, self._user_agent = node.id, nodes.user_agent(node)
        self._admit(proxy)
        self._group = await self._fleet.join(proxy, self)
        published = self._group.state.published
        assert published is not None  # join returns when there is one
        self._session = Session(self._variant, self._fleet.shared, self._identifier, published, self._only)
        while isinstance(raw, bytes):
            now = self._clock()
            if not self._requests.take(now):
                raise TooManyRequests
            verdict = self._session.receive(raw, now)
            if verdict.meaning in (Meaning.ACK, Meaning.NACK):
                self._fleet.judge(self._group, self, verdict)
                self._note_convergence(now)
            elif verdict.meaning is Meaning.STALE:
                self._fleet.tally.stale[verdict.type_url] += 1
            if not self._saying and not self._session.quiet:
                self._saying = True
                await self._say(self._session)
            raw = await self._transport.read()

    async def _write(self, session: Session) -> None:
        """`_say` beside the reading side, which raises what goes wrong here."""
        try:
            await self._say(session)
        except Exception as bug:
            self._bug = bug
            if self._runner:
                self._runner.cancel()

    async def _say(self, session: Session) -> None:
        """Writes all that there is to say, each response made of the newest configuration when its turn comes."""
        tally = self._fleet.tally
        try:
            while self._group is not None and self._group.state.published is not None and not self._ending:
                await self._fleet.breath.drawn()
                session.publish(self._group.state.published)
                response = session.next(self._clock())
                if response is None:
                    if self._told is self._group.state.published:  # the last step may be that names were taken back
                        self._note_convergence(self._clock())
                    break
                self._told = self._group.state.published
                tally.pushes[response.type_url] += 1
                tally.bytes[response.type_url] += len(response.data)
                await self._transport.write(response.data)
            if session.deadline is not None:
                self._set_alarm(session.deadline)
        except self._transport.broken:
            pass  # the reading side ends the stream
        finally:
            self._saying = False
        if self._ending and self._runner:
            self._runner.cancel()

    def _note_convergence(self, now: float) -> None:
        """Once for each configuration: how long it took this proxy to accept all of it."""
        group, session = self._group, self._session
        if group and session and self._converged is not group.state.published and session.settled():
            self._converged = group.state.published
            self._fleet.tally.convergence.observe(now - group.offered)

    def _set_alarm(self, deadline: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(deadline, self.wake)
