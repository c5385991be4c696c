"""A folder of episodes with a manifest that says which belong to it and to which split."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from geo4d_lite.data.store import FORMAT_VERSION, SPLITS, Episode, EpisodeError, content_hash, open_episode

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dataset:
    """The opened episodes of a folder, in the order of their names, or of a folder of such folders."""

    root: Path
    episodes: tuple[Episode, ...]

    def split(self, name: str) -> list[Episode]:
        """The episodes of one split, "train" or "test". Raises EpisodeError for another name."""
        if name not in SPLITS:
            raise EpisodeError(f"{self.root}: unknown split {name!r}; expected one of {', '.join(SPLITS)}")
        return [episode for episode in self.episodes if episode.info.split == name]

    def of_task(self, task: str) -> "Dataset":
        """The episodes of one task alone. Raises EpisodeError if there are none."""
        episodes = tuple(episode for episode in self.episodes if episode.info.task == task)
        if not episodes:
            tasks = ", ".join(sorted({episode.info.task for episode in self.episodes}))
            raise EpisodeError(f"{self.root}: no episode of {task!r}; it holds {tasks}")
        return Dataset(self.root, episodes)


def write_manifest(root: str | Path) -> dict:
    """Write root/manifest.json from the complete episodes found in the folder; returns what was written.

    An entry an episode says what it is, whether it succeeded, which seeds failed before it, its hash and what made it.
    """
    root = Path(root)
    episodes = [open_episode(path) for path in sorted(root.glob("episode_*.zarr"))]
    if not episodes:
        raise EpisodeError(f"{root} holds no episode_*.zarr; `geo4d demos` records episodes")
    entries = [
        {
            "name": episode.name,
            "split": episode.info.split,
            "seed": episode.info.seed,
            "frames": episode.frames,
            "task": episode.info.task,
            "preset": episode.info.preset,
            "success": episode.info.success,
            "failed_seeds": list(episode.info.failed_seeds),
            "content_hash": episode.images.attrs.get("content_hash") or content_hash(episode),
            "made_with": episode.images.attrs.get("made_with", {}),
        }
        for episode in episodes
    ]
    _check_seeds(root, episodes)
    manifest = {
        "version": FORMAT_VERSION,
        "content_hash": dataset_hash(entries),
        "failed_demonstrations": sum(len(entry["failed_seeds"]) for entry in entries),
        "episodes": entries,
    }
    partial = root / f".{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.replace(root / MANIFEST)
    return manifest


def dataset_hash(entries: list[dict]) -> str:
    """SHA-256 over name, split, seed and content of every entry of a manifest.

    A set that was interrupted and continued has the same hash as one recorded in one go.
    """
    keys = ("name", "split", "seed", "content_hash")
    return hashlib.sha256(json.dumps([[entry[key] for key in keys] for entry in entries]).encode()).hexdigest()


def parts_of(root: Path) -> list[Path]:
    """The data sets that a folder of data sets holds; none if the folder is a data set itself."""
    return [] if (root / MANIFEST).is_file() else sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))


def open_dataset(root: str | Path) -> Dataset:
    """Open every episode the manifest lists; in a folder of data sets, one a task, every episode of each.

    Raises EpisodeError naming folder or episode, fault and mend.
    """
    root = Path(root)
    if parts := parts_of(root):
        together = [episode for part in parts for episode in open_dataset(part).episodes]
        _check_seeds(root, together)
        return Dataset(root, tuple(together))
    if not (root / MANIFEST).is_file():
        raise EpisodeError(f"{root} has no {MANIFEST}; `geo4d demos` writes it when the last episode is recorded")
    manifest = json.loads((root / MANIFEST).read_text())
    if manifest.get("version") != FORMAT_VERSION:
        raise EpisodeError(
            f"{root / MANIFEST}: format version {manifest.get('version')}, this code reads {FORMAT_VERSION}; "
            "record the data set again with `geo4d demos`"
        )
    episodes = [open_episode(root / entry["name"]) for entry in manifest["episodes"]]
    for entry, episode in zip(manifest["episodes"], episodes, strict=True):
        for key, value in (("split", episode.info.split), ("seed", episode.info.seed), ("frames", episode.frames)):
            if entry.get(key) != value:
                raise EpisodeError(
                    f"{episode.name}: {key} is {value!r}, the manifest says {entry.get(key)!r}; "
                    f"delete {root / MANIFEST} and run `geo4d demos` again"
                )
    _check_seeds(root, episodes)
    return Dataset(root, tuple(episodes))


def _check_seeds(root: Path, episodes: list[Episode]) -> None:
    """Two episodes of one task and seed are the same story: one of them in each split would leak the test."""
    first: dict[tuple[str, int], Episode] = {}
    for episode in episodes:
        other = first.setdefault((episode.info.task, episode.info.seed), episode)
        if other.info.split != episode.info.split:
            raise EpisodeError(
                f"{root}: {other.name} ({other.info.split}) and {episode.name} ({episode.info.split}) share seed "
                f"{episode.info.seed}, so the test episodes are not held out; delete one and record another seed"
            )
