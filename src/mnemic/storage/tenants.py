"""Tenants: whose memory it is, which encoder made its vectors, and a version that every write raises."""

from dataclasses import dataclass

from mnemic.errors import UsageError
from mnemic.storage.backend import Row, Transaction
from mnemic.storage.encoder import Encoder
from mnemic.storage.times import now

__all__ = [
    "Tenant",
    "begin_write",
    "check_name",
    "encoder_number",
    "find_tenant",
    "make_tenant",
    "other_encoder",
    "record_encoder",
    "tenant_state",
]

_LONGEST = 200
_STATE = (
    "SELECT t.seq, t.version, t.rewrites, e.name, e.revision FROM tenant t LEFT JOIN encoder e ON e.seq = t.encoder"
)


@dataclass(frozen=True)
class Tenant:
    """Attributes:
    version: raised by every write.
    rewrites: raised by those that did more than add passages at the end.
    encoder: name and revision of what made its vectors, None before the first.
    """

    seq: int
    version: int
    rewrites: int
    encoder: tuple[str, str] | None


def check_name(name: str) -> str:
    """Refuses a tenant's name that is empty, long or cannot be printed."""
    if not isinstance(name, str) or not name or name != name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise UsageError(
            f"tenant {name!r:.80}: must be 1 to {_LONGEST} printable characters without spaces at its ends"
        )
    return name


def find_tenant(tx: Transaction, name: str) -> Tenant | None:
    found = tx.rows(f"{_STATE} WHERE t.name = ?", (name,))
    return _tenant(found[0]) if found else None


def tenant_state(tx: Transaction, number: int) -> Tenant:
    return _tenant(tx.rows(f"{_STATE} WHERE t.seq = ?", (number,))[0])


def _tenant(row: Row) -> Tenant:
    seq, version, rewrites, encoder, revision = row
    return Tenant(seq, version, rewrites, None if encoder is None else (encoder, revision))


def make_tenant(tx: Transaction, name: str) -> int:
    """The tenant's number, a new one where there was none."""
    tx.run("INSERT INTO tenant (name, created_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, now()))
    seq: int = tx.rows("SELECT seq FROM tenant WHERE name = ?", (name,))[0][0]
    return seq


def begin_write(tx: Transaction, tenant: int, *, rewrites: bool) -> None:
    """First statement of every write: writes of one tenant follow one another from here on.

    Args:
        rewrites: more than passages at the end changes, so that what readers hold in memory is of no use any more.
    """
    tx.run(
        "UPDATE tenant SET version = version + 1, rewrites = rewrites + ? WHERE seq = ?", (1 if rewrites else 0, tenant)
    )


def encoder_number(tx: Transaction, encoder: Encoder) -> int:
    tx.run(
        "INSERT INTO encoder (name, revision, dim) VALUES (?, ?, ?) ON CONFLICT (name, revision) DO NOTHING",
        (encoder.name, encoder.revision, encoder.dim),
    )
    number: int = tx.rows("SELECT seq FROM encoder WHERE name = ? AND revision = ?", (encoder.name, encoder.revision))[
        0
    ][0]
    return number


def record_encoder(tx: Transaction, tenant: int, encoder: Encoder) -> int:
    """The encoder's number; the tenant's vectors are its from now on.

    Raises:
        UsageError: the tenant has vectors of another one.
    """
    number = encoder_number(tx, encoder)
    tx.run("UPDATE tenant SET encoder = ? WHERE seq = ? AND encoder IS NULL", (number, tenant))
    recorded, name, revision = tx.rows(
        "SELECT e.seq, e.name, e.revision FROM tenant t JOIN encoder e ON e.seq = t.encoder WHERE t.seq = ?", (tenant,)
    )[0]
    if recorded != number:
        raise other_encoder((name, revision), encoder)
    return number


def other_encoder(recorded: tuple[str, str], encoder: Encoder) -> UsageError:
    """The vectors in the store and the encoder at hand do not go together."""
    name, revision = recorded
    return UsageError(
        f"encoder '{encoder.name}' (revision {encoder.revision:.12}) did not make the vectors of this store, "
        f"'{name}' (revision {revision:.12}) did; open it with that one, or change over with reembed()"
    )
