"""Look through a whole data set for damage and leaks: every array is read, every episode compared with the manifest."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo4d_lite.data.dataset import MANIFEST, dataset_hash, parts_of
from geo4d_lite.data.store import FORMAT_VERSION, DamagedEpisode, Episode, content_hash, open_episode
from geo4d_lite.geometry import Label

AGAIN = "run the command that made the data set again, which makes only what is missing"
RIGID_TOLERANCE = 1e-4  # what single precision leaves of a rotation
SAME_POSE_TOLERANCE = 1e-4  # cameras whose poses differ by less, entry by entry, stand in one place
STATE = ("X_WG", "width_m", "joint_positions")  # (T, 2, ...); NaN throughout says that this arm was not recorded


@dataclass(frozen=True)
class Problem:
    """What is wrong with an episode (or with the manifest), and how to repair it."""

    episode: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.episode}: {self.what}; to repair it, {self.mend}"


def check_dataset(root: str | Path) -> list[Problem]:
    """Every fault of the data set in folder `root`; an empty list where there is none. Changes nothing.

    Looked for: episodes that are missing, unlisted or unreadable (a lost or cut chunk), values that are not finite,
    poses that are no rigid transforms, shapes and labels that do not fit, contents other than those the manifest's hash
    was taken of, and leaks between the splits: seeds, contents or camera places in both.
    In a folder of data sets, one a task, each is looked through. Raises FileNotFoundError if there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no data set at {root}; `geo4d demos --root {root}` records one")
    if parts := parts_of(root):
        return [
            Problem(f"{part.name}/{problem.episode}", problem.what, problem.mend)
            for part in parts
            for problem in check_dataset(part)
        ]
    entries, problems = _read_manifest(root)
    names = sorted({path.name for path in root.glob("episode_*.zarr")} | set(entries or {}))
    sound: list[tuple[Episode, str]] = []
    for name in names:
        delete = f"delete {root / name} and {AGAIN}"
        try:
            episode = open_episode(root / name)
            sound.append((episode, content_hash(episode)))
            problems += [Problem(name, fault, delete) for fault in _faults(episode)]
        except FileNotFoundError:
            problems.append(Problem(name, "the manifest lists it, but it is not there", AGAIN))
        except DamagedEpisode as error:
            problems.append(Problem(name, error.fault, delete))
    if entries is not None:
        for episode, digest in sound:
            problems += _disagreements(episode, digest, entries.get(episode.name), root)
    return problems + list(_odd_sizes(sound)) + list(_leaks(sound))


def _read_manifest(root: Path) -> tuple[dict[str, dict] | None, list[Problem]]:
    """The manifest's entries by episode name, None if it cannot be read, and what is wrong with it."""
    path = root / MANIFEST
    mend = f"delete {path} and {AGAIN}"
    if not path.is_file():
        return None, [Problem(MANIFEST, "it is missing", AGAIN)]
    try:
        manifest = json.loads(path.read_text())
        entries = {entry["name"]: entry for entry in manifest["episodes"]}
        if manifest["version"] != FORMAT_VERSION:
            return None, [Problem(MANIFEST, f"format version {manifest['version']}, expected {FORMAT_VERSION}", mend)]
        if manifest["content_hash"] != dataset_hash(manifest["episodes"]):
            return entries, [Problem(MANIFEST, "its content hash is not the one of its own entries", mend)]
    except json.JSONDecodeError as error:
        return None, [Problem(MANIFEST, f"it is no JSON ({error})", mend)]
    except KeyError as error:
        return None, [Problem(MANIFEST, f"it lacks {error}", mend)]
    return entries, []


def _faults(episode: Episode) -> Iterator[str]:
    """What is wrong inside one episode that can be opened."""
    for name in ("K", "X_WC", "time_s"):
        if not np.isfinite(getattr(episode, name)).all():
            yield f"{name} holds {np.sum(~np.isfinite(getattr(episode, name)))} values that are not finite"
    for name in STATE:
        values = getattr(episode, name)
        not_finite = ~np.isfinite(values)
        recorded = ~np.isnan(values).all(axis=(0, *range(2, values.ndim)))  # (2,), an arm each
        if not_finite[:, recorded].any():
            yield f"{name} holds {not_finite[:, recorded].sum()} values that are not finite"
    for name in ("X_WC", "X_WG"):
        error = rigid_error(getattr(episode, name))
        if np.any(error > RIGID_TOLERANCE):  # NaN, counted above, compares False
            where = tuple(int(index) for index in np.argwhere(error > RIGID_TOLERANCE)[0])
            yield f"{name}{list(where)} is no rigid transform: it is off by {error[where]:.2g}"
    fx, fy = episode.K[:, 0, 0], episode.K[:, 1, 1]
    if np.any((fx <= 0) | (fy <= 0)) or np.any(episode.K[:, 2] != (0, 0, 1)):
        yield "K is no camera matrix: expected positive focal lengths and the last row (0, 0, 1)"
    if np.any(np.diff(episode.time_s) <= 0):
        yield "time_s does not increase from frame to frame"
    highest = max(episode.read_camera(camera)[2].max() for camera in range(len(episode.info.camera_split)))
    if highest > max(Label):
        yield f"label holds {highest}, the highest known label is {max(Label):d}"


def rigid_error(X: np.ndarray) -> np.ndarray:
    """How far poses X (..., 4, 4) are from rigid: the largest error of R^T R = I, det R = 1 and the last row; (...)."""
    R = X[..., :3, :3]
    orthonormal = np.abs(R.swapaxes(-1, -2) @ R - np.eye(3)).max(axis=(-1, -2))
    last_row = np.abs(X[..., 3, :] - (0, 0, 0, 1)).max(axis=-1)
    with np.errstate(invalid="ignore"):  # of NaN, which the caller counts
        handed = np.abs(np.linalg.det(R) - 1)
    return np.maximum(np.maximum(orthonormal, handed), last_row)


def _disagreements(episode: Episode, digest: str, entry: dict | None, root: Path) -> Iterator[Problem]:
    """Where a readable episode and its entry in the manifest differ."""
    relist = f"delete {root / MANIFEST} and {AGAIN}"
    if entry is None:
        yield Problem(episode.name, "the manifest does not list it", relist)
        return
    for key in ("split", "seed", "task", "preset", "success"):
        if entry.get(key) != getattr(episode.info, key):
            what = f"{key} is {getattr(episode.info, key)!r}, the manifest says {entry.get(key)!r}"
            yield Problem(episode.name, what, relist)
    if entry["content_hash"] != digest:
        what = f"its content has the hash {digest[:12]}…, the manifest says {entry['content_hash'][:12]}…"
        yield Problem(episode.name, what, f"delete {episode.path} and {AGAIN}")


def _odd_sizes(sound: list[tuple[Episode, str]]) -> Iterator[Problem]:
    """Episodes whose images have another size than most of the set."""
    sizes = [episode.images["rgb"].shape[2:4] for episode, _ in sound]
    for (episode, _), size in zip(sound, sizes, strict=True):
        usual = Counter(sizes).most_common(1)[0][0]
        if size != usual:
            what = f"its images have {size[0]} x {size[1]} pixels, most of the set {usual[0]} x {usual[1]}"
            yield Problem(episode.name, what, f"delete {episode.path} and record it with the set's preset")


def _leaks(sound: list[tuple[Episode, str]]) -> Iterator[Problem]:
    """What test windows share with training windows: a seed, a whole content, the place of a camera."""
    train = [(episode, digest) for episode, digest in sound if episode.info.split == "train"]
    for test, test_digest in ((episode, digest) for episode, digest in sound if episode.info.split == "test"):
        for episode, digest in train:
            another = f"delete {test.path} and record it with another seed"
            if (test.info.task, test.info.seed) == (episode.info.task, episode.info.seed):
                what = f"leak: this test episode has the seed of the training episode {episode.name}, {test.info.seed}"
                yield Problem(test.name, what, another)
            elif test_digest == digest:
                yield Problem(test.name, f"leak: its content is that of the training episode {episode.name}", another)
        places = [(ep.name, camera, ep.X_WC[camera]) for ep, _ in train for camera in ep.info.cameras("train")]
        for camera in test.info.cameras("test"):
            near = (at for at in places if np.abs(at[2] - test.X_WC[camera]).max() < SAME_POSE_TOLERANCE)
            if shared := next(near, None):
                what = f"leak: test camera {camera} stands where training camera {shared[1]} of {shared[0]} stands"
                mend = "record it with other cameras, or say beside every result that cameras were not held out"
                yield Problem(test.name, what, mend)
