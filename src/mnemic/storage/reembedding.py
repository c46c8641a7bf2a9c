"""Changing the encoder: all passages get vectors of the new one beside the old ones; then the tenant changes over."""

from functools import partial

import numpy as np

from mnemic.storage.backend import Backend, Transaction, Vectors
from mnemic.storage.encoder import Encoder
from mnemic.storage.preparing import indexed_text
from mnemic.storage.tenants import begin_write, encoder_number
from mnemic.storage.writing import write_vectors

__all__ = ["reembed"]

_BATCH = 500


def reembed(backend: Backend, tenant: int, encoder: Encoder) -> int:
    """How many vectors were made. Searches go on with the old ones until the last; run again after a crash, it goes on.

    Other stores that are open on the same tenant must be opened anew.
    """
    number = backend.write(lambda tx: encoder_number(tx, encoder))
    made = 0
    while True:
        missing = backend.read(lambda tx: _missing(tx, tenant, number), tenant)
        if missing:
            vectors = np.asarray(encoder.encode([text for _, text in missing]), np.float32)
            owners = [seq for seq, _ in missing]
            made += backend.write(partial(_keep, tenant=tenant, encoder=number, owners=owners, vectors=vectors), tenant)
        elif backend.write(lambda tx: _change_over(tx, tenant, number), tenant):
            return made


def _missing(tx: Transaction, tenant: int, encoder: int) -> list[tuple[int, str]]:
    rows = tx.rows(
        "SELECT p.seq, e.title, p.text FROM passage p JOIN event e ON e.seq = p.event "
        "WHERE p.tenant = ? AND NOT EXISTS (SELECT 1 FROM vector v "
        "WHERE v.tenant = p.tenant AND v.kind = 'passage' AND v.encoder = ? AND v.owner = p.seq) "
        "ORDER BY p.seq LIMIT ?",
        (tenant, encoder, _BATCH),
    )
    return [(seq, indexed_text(title, text)) for seq, title, text in rows]


def _keep(tx: Transaction, *, tenant: int, encoder: int, owners: list[int], vectors: Vectors) -> int:
    """Passages that were erased meanwhile get none."""
    low, high = min(owners), max(owners)
    there = {
        row[0]
        for row in tx.rows("SELECT seq FROM passage WHERE tenant = ? AND seq BETWEEN ? AND ?", (tenant, low, high))
    }
    kept = [index for index, owner in enumerate(owners) if owner in there]
    write_vectors(tx, tenant, encoder, "passage", [owners[index] for index in kept], vectors[kept])
    return len(kept)


def _change_over(tx: Transaction, tenant: int, encoder: int) -> bool:
    """Unless passages came meanwhile."""
    begin_write(tx, tenant, rewrites=True)
    if _missing(tx, tenant, encoder):
        return False
    tx.run("UPDATE tenant SET encoder = ?, linked = 0 WHERE seq = ?", (encoder, tenant))
    tx.run("DELETE FROM vector WHERE tenant = ? AND encoder <> ?", (tenant, encoder))
    tx.drop_vectors(tenant, encoder)
    tx.run("DELETE FROM synonym WHERE tenant = ?", (tenant,))
    return True
