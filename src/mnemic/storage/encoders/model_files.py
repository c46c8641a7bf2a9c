"""Where the files of a model are: in a folder, in the hub's cache, or on the hub."""

from pathlib import Path

from mnemic.errors import MissingExtra, UsageError

__all__ = ["ModelFiles"]


class ModelFiles:
    """Args:
    name: a folder, or OWNER/NAME on the hub.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = Path(name) if Path(name).is_dir() else None

    def find(self, file: str, *, local: bool = False) -> Path | None:
        """The path of a file, None where the model has none of that name.

        Args:
            local: only what is already on this machine.
        """
        if self._folder is not None:
            path = self._folder / file
            return path if path.is_file() else None
        try:
            from transformers.utils import cached_file
        except ImportError:
            raise MissingExtra(f"a model by its name on the hub ('{self.name}')", "models") from None
        try:
            found = cached_file(self.name, file, local_files_only=local, _raise_exceptions_for_missing_entries=False)
        except (OSError, ValueError) as wrong:
            if local:
                return None
            first = str(wrong).splitlines()[0]
            raise UsageError(f"encoder '{self.name}' is no folder and cannot be had from the hub: {first}") from None
        return Path(found) if found is not None else None

    def path(self, file: str) -> Path:
        """
        Raises:
            UsageError: the model has no such file.
        """
        found = self.find(file)
        if found is None:
            raise UsageError(f"encoder '{self.name}' has no {file}")
        return found
