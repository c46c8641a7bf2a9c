"""A vector is made once, by whichever process comes first; a damaged file costs nothing but time."""

import hashlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from mnemic.errors import MnemicError
from mnemic.storage.encoders.cached_vectors import CachedEncoder


class Counting:
    """An encoder that notes what it was asked."""

    name, dim = "counting", 4

    def __init__(self, revision="1"):
        self.revision = revision
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4] for text in texts]
        return np.array([list(digest) for digest in digests], np.float32).reshape(-1, 4)


def test_each_text_is_encoded_once(tmp_path):
    inner = Counting()
    encoder = CachedEncoder(inner, tmp_path / "deep" / "vectors.db")
    texts = [f"text {i % 300}" for i in range(700)] + ["\ud800", ""]
    first = encoder.encode(texts)
    assert len(inner.asked) == 302
    encoder.close()
    again = CachedEncoder(Counting(), tmp_path / "deep" / "vectors.db")
    np.testing.assert_array_equal(again.encode(texts), first)
    np.testing.assert_array_equal(first, Counting().encode(texts))
    assert again._encoder.asked == []
    assert again.encode([]).shape == (0, 4)
    assert (again.name, again.dim, again.revision) == ("counting", 4, "1")


def test_another_revision_shares_nothing(tmp_path):
    CachedEncoder(Counting("1"), tmp_path / "v.db").encode(["a"])
    other = Counting("2")
    CachedEncoder(other, tmp_path / "v.db").encode(["a"])
    assert other.asked == ["a"]


@pytest.mark.parametrize("damage", [b"", b"no database at all, but long enough to be looked at" * 100])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    (tmp_path / "v.db").write_bytes(damage)
    encoder = CachedEncoder(Counting(), tmp_path / "v.db")
    np.testing.assert_array_equal(encoder.encode(["a"]), Counting().encode(["a"]))


def test_a_vector_of_the_wrong_length_is_made_anew(tmp_path):
    encoder = CachedEncoder(Counting(), tmp_path / "v.db")
    encoder.encode(["a", "b"])
    with encoder._db:
        encoder._db.execute("UPDATE vectors SET vector = x'0011'")
    np.testing.assert_array_equal(encoder.encode(["a", "b"]), Counting().encode(["a", "b"]))


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MnemicError, match=r"cannot use .* as a cache of vectors"):
        CachedEncoder(Counting(), tmp_path / "file" / "v.db")


def test_threads_share_it(tmp_path):
    encoder = CachedEncoder(Counting(), tmp_path / "v.db")
    texts = [str(i) for i in range(200)]
    results = [None] * 6

    def work(number):
        results[number] = encoder.encode(texts[number * 10 :])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in enumerate(results):
        np.testing.assert_array_equal(found, Counting().encode(texts[number * 10 :]))


def test_processes_share_it(tmp_path):
    code = (
        "import sys, pathlib, numpy as np\n"
        "from mnemic.storage.encoders.cached_vectors import CachedEncoder\n"
        "class Inner:\n"
        "    name, dim, revision = 'inner', 2, '1'\n"
        "    def encode(self, texts): return np.array([[len(t), 1] for t in texts], np.float32)\n"
        "encoder = CachedEncoder(Inner(), pathlib.Path(sys.argv[1]))\n"
        "for i in range(100): assert encoder.encode(['x' * i])[0].tolist() == [i, 1]\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "v.db")]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
