"""FoundationPose in a process of its own. Runs under its environment's Python: needs FoundationPose, not this package.

    python foundation_pose_worker.py --source CLONE [--check]

Requests come on stdin, answers go to stdout, one message for one message; all that FoundationPose prints goes to
stderr. A message is a length (4 bytes, big end first), a JSON header of that length and the raw bytes of the arrays
that the header lists. The process ends at `close`, at the end of stdin, and when its parent dies.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import tempfile
import threading
import time
import traceback
from typing import NamedTuple

import numpy as np

LENGTH = struct.Struct(">I")
LONGEST_HEADER = 1 << 20
PLAIN_KINDS = "biuf"  # booleans, integers, floats: never Python objects
WATCH_S = 0.5


class Message(NamedTuple):
    """What is asked or answered, with plain settings and arrays by name."""

    name: str
    settings: dict
    arrays: dict


def write_message(stream, name, settings=None, arrays=None) -> None:
    """Write one message to a binary stream. `settings`: what JSON holds; `arrays`: names to arrays."""
    arrays = {key: np.ascontiguousarray(array) for key, array in (arrays or {}).items()}
    listed = [[key, array.dtype.str, array.shape] for key, array in arrays.items()]
    header = json.dumps({"name": name, "settings": settings or {}, "arrays": listed}).encode()
    stream.write(LENGTH.pack(len(header)) + header)
    for array in arrays.values():
        stream.write(array.tobytes())
    stream.flush()


def read_message(stream) -> Message:
    """Read one message. Raises EOFError at the end of the stream, ValueError for bytes that are no message."""
    (length,) = LENGTH.unpack(_exactly(stream, LENGTH.size))
    if length > LONGEST_HEADER:
        raise ValueError(f"a message begins with a header of {length} bytes; something else was written to the pipe")
    header = json.loads(_exactly(stream, length))
    arrays = {}
    for name, kind, shape in header["arrays"]:
        dtype = np.dtype(kind)
        if dtype.kind not in PLAIN_KINDS:
            raise ValueError(f"array {name} has type {kind}; expected numbers or booleans")
        data = _exactly(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape).copy()
    return Message(header["name"], header["settings"], arrays)


def _exactly(stream, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError(f"the pipe ended after {len(data)} of {count} bytes")
    return data


class Estimators:
    """NVlabs' estimators, one for each mesh; refiner, scorer and rasteriser are loaded once and shared.

    Raises ImportError if FoundationPose or one of its parts is not installed.
    """

    def __init__(self):
        import nvdiffrast.torch as nvdiffrast
        from estimater import FoundationPose, PoseRefinePredictor, ScorePredictor

        self._kind = FoundationPose
        self._shared = {
            "scorer": ScorePredictor(),
            "refiner": PoseRefinePredictor(),
            "glctx": nvdiffrast.RasterizeCudaContext(),
            "debug_dir": tempfile.mkdtemp(prefix="foundationpose-"),  # its default is in its author's home
        }

    def make(self, vertices, faces, normals, colours):
        """An estimator for a mesh: vertices (V, 3) metres, faces (F, 3), normals (V, 3), colours (V, 4) uint8."""
        import trimesh

        mesh = trimesh.Trimesh(vertices, faces, vertex_normals=normals, vertex_colors=colours, process=False)
        return self._kind(model_pts=mesh.vertices, model_normals=mesh.vertex_normals, mesh=mesh, **self._shared)


def registered(estimator, **images):
    """`estimator.register(**images)` as an array, or None where the mask leaves it fewer than four points.

    There FoundationPose answers with an unturned pose and keeps none to track from: `pose_last` stays None.
    """
    keeps = hasattr(estimator, "pose_last")
    if keeps:
        estimator.pose_last = None
    pose = estimator.register(**images)
    return None if pose is None or (keeps and estimator.pose_last is None) else np.asarray(pose)


def serve(requests, answers) -> None:
    """Answer requests until `close` or the end of the stream. What goes wrong is answered too, with its traceback."""
    made, loader = {}, None
    while True:
        try:
            request = read_message(requests)
        except EOFError:
            return
        settings = request.settings
        try:
            if request.name == "close":
                write_message(answers, "closed")
                return
            if request.name == "load":
                loader = loader or Estimators()
                made[settings["mesh"]] = loader.make(**request.arrays)
                pose = None
            elif request.name == "register":
                pose = registered(made[settings["mesh"]], iteration=settings["iteration"], **request.arrays)
            else:
                tracked = made[settings["mesh"]].track_one(iteration=settings["iteration"], **request.arrays)
                pose = np.asarray(tracked)
        except Exception:
            write_message(answers, "error", {"text": traceback.format_exc()})
            continue
        write_message(answers, "done", arrays={} if pose is None else {"pose": pose})


def end_with_parent() -> None:
    """Watch from a thread for the parent's death, and end even in the middle of an answer."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve the parent process, or with --check load everything onto the graphics card and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="folder of FoundationPose's clone")
    parser.add_argument("--check", action="store_true", help="load networks and weights, print the card's name, end")
    options = parser.parse_args()
    sys.path[0] = options.source  # and not the folder of this file, whose names are not FoundationPose's
    if options.check:
        Estimators()
        import torch

        print(f"FoundationPose loads; torch {torch.__version__} on {torch.cuda.get_device_name()}")
        return
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    end_with_parent()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
