"""What the hostile endpoint writes: bytes, pauses between them, and the way in which the connection then ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

Close = Literal["kept", "closed", "reset"]
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reply:
    """Bytes, and pauses in seconds, in their order; then the connection is kept, closed or reset."""

    parts: tuple[bytes | float, ...]
    close: Close = "kept"

    @property
    def status(self) -> int:
        """Return the status of the response, 0 if it has none."""
        first = self.parts[0] if self.parts else b""
        number = first[9:12] if isinstance(first, bytes) else b""
        return int(number) if number.isdigit() else 0


class Learns(Enum):
    """What a client can know of a submission once it has this answer."""

    ID = auto()
    """Accepted, under an id that can be read."""
    NOTHING = auto()
    """Accepted, but the id has not arrived."""
    EITHER = auto()
    """Accepted; a client may read the id, or refuse the answer and count the job as perhaps accepted."""
    UNCLEAR = auto()
    """Not accepted, which the client cannot know for certain."""
    REFUSED = auto()
    """Not accepted, for certain."""

    @property
    def accepts(self) -> bool:
        """Return whether the endpoint has the job."""
        return self in (Learns.ID, Learns.NOTHING, Learns.EITHER)


@dataclass(frozen=True)
class Exchange:
    """A request to answer: its job as the endpoint would show it, and the key that came with it."""

    document: dict[str, Any]
    key: str
    now: float

    @property
    def body(self) -> bytes:
        """Return the job as JSON."""
        return json.dumps(self.document).encode()


def head(status: int | str, headers: Headers = (), version: str = "1.1") -> bytes:
    """Return a status line and headers, with the empty line after them."""
    line = status if isinstance(status, str) else f"{status} X"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/{version} {line}\r\n{lines}\r\n".encode("latin-1")


def whole(body: bytes, status: int | str = 200, headers: Headers = ()) -> bytes:
    """Return a response with a Content-Length."""
    return head(status, (*headers, ("Content-Length", str(len(body))))) + body


def chunked(body: bytes, headers: Headers = (), size: int = 7, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a response in chunks of this size, with this after the last one."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    sent = b"".join(b"%X;a=b\r\n%s\r\n" % (len(part), part) for part in parts)
    return head(200, (*headers, ("Transfer-Encoding", "chunked"))) + sent + end


def answer(body: bytes, status: int | str = 200, headers: Headers = (), close: Close = "kept") -> Reply:
    """Return a reply that is one whole response."""
    return Reply((whole(body, status, headers),), close)
