"""What a run knows of the machine that sent it."""

import socket
from dataclasses import dataclass

from mnemic.errors import MnemicError
from mnemic.training import provenance

__all__ = ["Sender"]


@dataclass(frozen=True)
class Sender:
    """The machine that the grid is on, and its mnemic."""

    host: str
    code_version: str

    @classmethod
    def this(cls) -> "Sender":
        return cls(socket.gethostname(), provenance.code_version())

    def check(self) -> None:
        """Take over the sender's version: here because the sources may have been edited since, elsewhere if it is so.

        Raises:
            MnemicError: this is another machine, and its mnemic is another.
        """
        here = socket.gethostname()
        if here != self.host and provenance.code_version() != self.code_version:
            raise MnemicError(
                f"{here} has another mnemic (code {provenance.code_version()}) than {self.host} ({self.code_version}); "
                f"install the same on both"
            )
        provenance.adopt_code_version(self.code_version)
