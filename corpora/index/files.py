"""The local files that items name: found, checked, and brought where the download stage wants them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from core.records import SAFE_ID, Fetched, Item, Reject
from corpora.index.values import VIDEO_SUFFIXES, BadIndex

CRF = 10  # of a stretch cut out of a longer file: no difference to be seen, and no cut off the frame
_NAME_BYTES, _PATH_BYTES = 255, 4000


def index_path(config: Mapping) -> Path:
    """The corpus's index: the file or folder that its entry in params.yaml calls `path`. FileNotFoundError where nothing is."""
    path = Path(config["path"])
    if not path.exists():
        raise FileNotFoundError(f"{config.get('adapter', 'corpus')}: no file or folder {path}; set corpora.<name>.path in "
                                f"params.yaml")
    return path


def index_folder(config: Mapping) -> Path:
    """`index_path` that must be a folder."""
    path = index_path(config)
    if not path.is_dir():
        raise BadIndex(f"{path}: expected the corpus's folder, this is a file")
    return path


def media_root(config: Mapping) -> Path | None:
    """The folder that sources of kind "file" are paths in: options.media, or the index's own folder. None where nothing is
    local."""
    named = (config.get("options") or {}).get("media")
    if not named and not config.get("path"):
        return None
    root = Path(named or config["path"])
    if not named and not root.is_dir():
        root = root.parent
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of media files; see corpora.<name>.options.media in params.yaml")
    return root


def plain_name(name: str) -> str:
    """`name` where it may be a path below a folder. Raises Reject(bad_name) otherwise; looks at no file."""
    if not name:
        raise Reject("bad_name", "the file's name is empty")
    if "\\" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise Reject("bad_name", f"{name[:200]!r} has a backslash or a control character")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise Reject("bad_name", f"{name[:200]!r} is not a path below the folder")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes, default=0) > _NAME_BYTES or sum(sizes) > _PATH_BYTES:
        raise Reject("bad_name", f"{name[:80]!r}... is too long for a file's name")
    return name


def safe_path(root: Path, name: str) -> Path:
    """The resolved path of a regular file inside `root` that an index names. Raises Reject: bad_name or missing_file."""
    plain_name(name)
    root = root.resolve()
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # absent, a dangling or circular link
        raise Reject("missing_file", f"{name!r} is not in the folder ({type(error).__name__})") from error
    if not path.is_relative_to(root):
        raise Reject("bad_name", f"{name!r} is a link out of the folder")
    if not path.is_file():
        raise Reject("missing_file", f"{name!r} is not a regular file")
    return path


def walk(root: Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> Iterator[str]:
    """Paths below `root` of all files with one of these suffixes, "/" between their parts, sorted; linked folders are not
    entered."""
    todo = [("", root)]
    while todo:
        prefix, folder = todo.pop()
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
        deeper = []
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                deeper.append((f"{prefix}{entry.name}/", Path(entry.path)))
            elif entry.name.lower().endswith(suffixes):
                yield prefix + entry.name
        todo += reversed(deeper)


class LocalCopies:
    """The files of options.media by their names without suffix: what somebody has fetched already."""

    def __init__(self, root: Path):
        self._root, self._names = root, {}
        for name in walk(root):
            self._names.setdefault(PurePosixPath(name).stem, []).append(name)

    def find(self, stem: str) -> str | None:
        """The one file called `stem`, or None. Raises Reject(bad_name) where there are several."""
        found = self._names.get(stem)
        if found is not None and len(found) > 1:
            raise Reject("bad_name", f"the media folder has {len(found)} files called {stem!r}: {', '.join(found[:3])}")
        if found is None:
            return None
        safe_path(self._root, found[0])
        return found[0]


def fetch(item: Item, config: Mapping, folder: Path) -> Fetched:
    """The item's local file as `<id><suffix>` in `folder`: a hard link, or a copy where links are not possible; a stretch of a
    file
    is cut out at 25 fps with lossless sound. Its truth is not known.

    Raises Reject (bad_name, missing_file) when the file has gone or moved out since the index was read, and wrong_hash.
    """
    source = item.source
    if source is None or source.kind != "file":
        raise ValueError(f"{item.id}: {item.where} is not a local file; the download stage fetches it")
    path = safe_path(media_root(config), source.at)
    if not SAFE_ID.fullmatch(item.id):
        raise Reject("bad_name", f"id {item.id!r} is not safe as a file name")
    if source.sha256:
        from core.digest import digest_file

        if digest_file(path) != source.sha256.lower():
            raise Reject("wrong_hash", f"{source.at!r} is not the file whose sha256 the index gives")
    if source.start_s is not None and source.end_s is not None:
        return Fetched(path=cut(path, folder / f"{item.id}.mkv", source.start_s, source.end_s))
    suffix = PurePosixPath(source.at).suffix.lower()
    return Fetched(path=link(path, folder / (item.id + (suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else ""))))


def link(path: Path, target: Path) -> Path:
    """`target`, which is then the same file as `path`, or a copy of it on another file system."""
    partial = target.with_name(f".{target.name}.part")
    partial.unlink(missing_ok=True)
    try:
        os.link(path, partial)
    except OSError:  # another file system, or one without links
        with path.open("rb") as read, partial.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
    os.replace(partial, target)
    partial.unlink(missing_ok=True)  # replacing a name by another name of the same file leaves both
    return target


def cut(path: Path, target: Path, start_s: float, end_s: float | None, *, sound: Path | None = None) -> Path:
    """`target` (.mkv), holding the frames and the sound of `path` from start_s to end_s, frame by frame at 25 fps. end_s None: to
    the end. sound: the file that the sound is in, where that is another.

    Encoded anew, because a container can only be cut at its key frames. Raises Reject as core.media does; short_source where the
    file ends before the stretch begins.
    """
    from core import media
    from core.media_write import write_video
    from core.timing import FPS, SAMPLES_PER_FRAME

    first = round(start_s * FPS)
    end = media.frame_count(path) if end_s is None else max(first + 1, round(end_s * FPS))
    heard = media.read_audio(sound or path, start=first * SAMPLES_PER_FRAME, stop=end * SAMPLES_PER_FRAME)
    try:
        write_video(target, media.read_frames(path, start=first, stop=end), audio=heard, crf=CRF, audio_codec="flac")
    except Reject as reject:
        if reject.reason != "no_frames":
            raise
        raise Reject("short_source", f"{path.name}: ends before {start_s:g} s, where the stretch begins") from None
    return target
