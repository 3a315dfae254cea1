"""Brings an index up to date with a folder: only files that are new or have changed are read."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from relahash_nb.files import watch
from relahash_nb.pictures import Scan
from relahash_search.reading import COMMIT, Batch, Fault, describe_file, reason
from relahash_search.tables import File, Folder, Tables


@dataclass
class Update:
    """What an update found; each picture of the folder is counted once.

    Attributes:
        added: New, or another copy of one that is known.
        moved: Known by its content at a path where it is not any more; or its folder was renamed.
        replaced: Another picture at a known path.
        gone: Not there any more, and taken out.
        unchanged: As it was.
        faults: Of pictures that were skipped.
        notes: Sentences on folders: renamed, or joined.
    """

    added: int = 0
    moved: int = 0
    replaced: int = 0
    gone: int = 0
    unchanged: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """The numbers by name, `skipped` among them."""
        names = ("added", "moved", "replaced", "gone", "unchanged")
        return {name: getattr(self, name) for name in names} | {"skipped": len(self.faults)}

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self.counts().items())


class FolderState:
    """A folder as the index knows it, and as it is.

    Args:
        tables: Of the index.
        place: The folder's absolute place.
        scan: Its pictures.

    Attributes:
        folder: The folder in the index: this one, or one that this one lies in.
        known: What the index has of it, by path in `folder`.
        present: The files that are there, by path in `folder`.
        is_renamed: The index had the folder at another place.
        update: What is known so far.

    Raises:
        ValueError: There is no picture in it.
    """

    def __init__(self, tables: Tables, place: Path, scan: Scan) -> None:
        self.tables = tables
        self.update = Update(faults=[Fault(*line.split(": ", 1)) for line in scan.faults])
        self.is_renamed = False
        with tables.begin():  # or two processes make a folder and one within it, and neither sees the other's
            self.folder = self._find(place, scan)
        part = place.relative_to(self.folder.place).as_posix()
        prefix = "" if part == "." else f"{part}/"
        known = tables.known_files(self.folder)
        self.known = {path: state for path, state in known.items() if path.startswith(prefix)}
        self.present = self._describe_all(prefix + path for path in scan.files)
        if not self.present:
            text = f"no picture is in it, but {len(self.known):,} of it are in the index"
            remedy = f"is a drive missing? if they are gone for good: relahash index --remove {place}"
            raise ValueError(f"folder: {str(place)!r} given, and {text}; {remedy}")

    def _find(self, place: Path, scan: Scan) -> Folder:
        """The folder in the index that `place` is or lies in; those within that one become parts of it."""
        folders = self.tables.folders()
        found = next((folder for folder in folders if place.is_relative_to(folder.place)), None)
        if found is None and not scan.files:
            raise ValueError(f"folder: {str(place)!r} given, and no picture is in it")
        outer = found or self._find_renamed(folders, place, scan) or self.tables.add_folder(str(place))
        for folder in folders:
            if folder.number != outer.number and Path(folder.place).is_relative_to(outer.place):
                self.tables.absorb(folder, outer)
                self.update.notes.append(f"{folder.place} is indexed as a part of {outer.place}")
        return outer

    def _find_renamed(self, folders: Iterable[Folder], place: Path, scan: Scan) -> Folder | None:
        """The folder that lies here now: its old place is gone, and at least half of its pictures are here."""
        for folder in folders:
            if Path(folder.place).exists():
                continue
            known = self.tables.known_files(folder)
            found = [path for path in scan.files if path in known and _has_size(place / path, known[path].file.size)]
            if found and len(found) >= len(known) / 2:
                self.is_renamed = True
                self.update.notes.append(f"{folder.place} is now {place}")
                return self.tables.move_folder(folder, str(place))
        return None

    def _describe_all(self, paths: Iterable[str]) -> dict[str, File]:
        found = {}
        for path in paths:
            place = Path(self.folder.place, path)
            try:
                found[path] = describe_file(place)
            except (OSError, ValueError) as error:
                self.update.faults.append(Fault(path, reason(error, place)))
        return found

    def to_read(self) -> list[str]:
        """The paths of the files that are new, or not as they were."""
        is_new = lambda path: path not in self.known or self.known[path].file != self.present[path]
        return [path for path in self.present if is_new(path)]

    def finish(self, batches: Iterable[Batch]) -> Update:
        """Count what was read, and take out what is gone.

        Args:
            batches: All that became of the files in `to_read`.
        """
        added = self._count(batches)
        faulty = {fault.path for fault in self.update.faults}
        missing = [path for path in self.known if path not in self.present and path not in faulty]
        gone = [path for path in missing if self._is_gone(path)]
        self._count_moved(added, {path: self.known[path].digest for path in gone})
        self.tables.remove(self.folder, gone)
        self._take_from_other_folders(added)
        self.tables.remove_unused_codes()
        return self.update

    def _count(self, batches: Iterable[Batch]) -> Counter[str]:
        """Count the pictures that are there; give the digests of those that were added."""
        update = self.update
        added: Counter[str] = Counter()
        read = set()
        for batch in batches:
            update.faults += batch.faults
            read |= batch.digests.keys() | {fault.path for fault in batch.faults}
            for path, digest in batch.digests.items():
                if path not in self.known:
                    added[digest] += 1
                elif self.known[path].digest != digest:
                    update.replaced += 1
                else:
                    self._count_same()
        for _ in self.present.keys() - read:
            self._count_same()
        update.added = added.total()
        return added

    def _count_same(self) -> None:
        if self.is_renamed:
            self.update.moved += 1
        else:
            self.update.unchanged += 1

    def _is_gone(self, path: str) -> bool:
        """Whether a picture is not there any more. What cannot be looked at, as in a locked folder, stays."""
        place = Path(self.folder.place, path)
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            self.update.faults.append(Fault(path, reason(error, place)))
            return False
        return True  # it is there, but the scan takes it for no picture

    def _count_moved(self, added: Counter[str], gone: Mapping[str, str]) -> None:
        """Count what is gone at one path and was added at another as moved; `gone`: digests by path."""
        for digest in gone.values():
            if added[digest] > 0:
                added[digest] -= 1
                self.update.added -= 1
                self.update.moved += 1
            else:
                self.update.gone += 1

    def _take_from_other_folders(self, added: Counter[str]) -> None:
        """What was added here, and is gone from another folder that is there, was moved."""
        folders = {folder.place: folder for folder in self.tables.folders() if folder != self.folder}
        digests = [digest for digest, count in added.items() if count > 0]
        for item, _ in self.tables.items_with_digests(digests):
            is_elsewhere = item.place in folders and Path(item.place).is_dir()
            if is_elsewhere and added[item.digest] > 0 and not Path(item.full_path).exists():
                self._count_moved(added, {item.path: item.digest})
                self.tables.remove(folders[item.place], [item.path])


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def update_folder(
    tables: Tables,
    place: Path,
    scan: Scan,
    read: Callable[[Folder, list[str]], Iterator[Batch]],
) -> Update:
    """Bring an index up to date with a folder.

    Args:
        tables: Of the index.
        place: The folder's absolute place.
        scan: Its pictures.
        read: Reads the pictures at these paths of a folder into the index.

    Raises:
        ValueError: There is no picture in the folder.
    """
    state = FolderState(tables, place, scan)
    paths = state.to_read()
    batches = watch(read(state.folder, paths), ceil(len(paths) / COMMIT), "pictures")
    return state.finish(batches)
