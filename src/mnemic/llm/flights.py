"""One call at a time for one key: threads that want the same answer share it."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from mnemic.llm.cache import Reply

__all__ = ["Flights"]


class Flights:
    """Calls under way, by key."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: dict[str, Future[tuple[Reply, bool]]] = {}

    def share(self, key: str, fetch: Callable[[], tuple[Reply, bool]]) -> tuple[Reply, bool]:
        """The reply for `key`, by one `fetch` for all who ask meanwhile, and whether it cost this caller nothing.

        An error of the fetch is raised for all of them.
        """
        with self._lock:
            under_way = self._under_way.get(key)
            if under_way is None:
                mine = self._under_way[key] = Future()
        if under_way is not None:
            return under_way.result()[0], True
        try:
            found = fetch()
        except BaseException as failed:
            self._land(key)
            mine.set_exception(failed)
            raise
        self._land(key)
        mine.set_result(found)
        return found

    def _land(self, key: str) -> None:
        with self._lock:
            del self._under_way[key]
