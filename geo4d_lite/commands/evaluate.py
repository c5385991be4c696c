"""`geo4d evaluate`: generated videos against the truth on held-out windows, beside "repeat the last frame".

Five videos of a window are compared with what really happened: the model's; the last frame repeated, view m moved into
the frame of n by the true pose; the same, moved by the pose that registration finds; the truth encoded and decoded by
the autoencoders; and the truth itself. Each window's record is kept, so that a killed run goes on where it was.
"""

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Evaluate:
    """Depth, agreement between views and gripper errors on held-out windows, with intervals over episodes."""

    data: Path
    """Folder of the data set."""
    weights: Path | None = None
    """Folder written by `geo4d train --export`, or of a 4D Gaussian field; without it, the weights that come with the
    package."""
    split: str = "test"
    """"test": episodes and cameras both held out; "train": neither."""
    windows: int = 24
    """How many windows, spread evenly over the split."""
    path_model: Path | None = None
    """Folder written by `data_scripts.train_path`, such as geo4d_lite/assets/weights/path_model. The hands are drawn
    along the path that this model reads from the points of both views; a path hint, so say so beside the result."""
    steps: int = 4
    """Steps of the sampler; the paper takes 25."""
    seed: int = 0
    depth_noise: bool = False
    """Lay the noise of a stereo depth camera over the depth that the model is given."""
    features: Path | None = None
    """For FVD: folder of a small video encoder, or I3D as a TorchScript file (`.pt`); without it, the small encoder
    that comes with the package."""
    out: Path | None = None
    """Folder of the windows' records; runs/evaluate/<data set>_<weights> by default."""
    result: Path | None = None
    """File to write the result to, such as book/results/held_out.json."""


def main(options: Evaluate) -> None:
    """Run `options`; prints the table of means and intervals."""
    import numpy as np

    from geo4d_lite.data import D415, WindowDataset, open_dataset
    from geo4d_lite.evaluation.fvd import feature_extractor
    from geo4d_lite.evaluation.results import fingerprint, provenance, same_settings, write_json
    from geo4d_lite.evaluation.study import record_window, recorded, summarise_records
    from geo4d_lite.evaluation.video_models import load_video_model
    from geo4d_lite.models.weights import shipped
    from geo4d_lite.perception import ColourSegmenter

    dataset = WindowDataset(open_dataset(options.data), options.split)
    if not 1 <= options.windows <= len(dataset):
        raise ValueError(f"windows is {options.windows}; the {options.split} split has {len(dataset)}")
    folder = options.out or Path("runs/evaluate") / f"{options.data.name}_{options.weights or 'shipped'}".replace(
        "/", "_"
    )
    print(f"weights: {options.weights or shipped()}", flush=True)
    model, reconstruct = load_video_model(options.weights, options.steps, options.path_model)
    segmenter = ColourSegmenter()
    extractor = feature_extractor(options.features)
    kept = {name: value for name, value in asdict(options).items() if name not in ("out", "result")}
    kept["of_weights"] = fingerprint(options.weights or shipped())
    kept["of_path_model"] = None if options.path_model is None else fingerprint(options.path_model)
    begun = same_settings(folder, kept)
    sensor = D415 if options.depth_noise else None
    chosen = np.linspace(0, len(dataset) - 1, options.windows).round().astype(int)
    records = []
    for count, index in enumerate(chosen, start=1):

        def make(index=index, seed=options.seed + count) -> dict:
            return record_window(index, dataset, model, segmenter, extractor, reconstruct, sensor, seed)

        records.append(recorded(folder / f"window_{index}.json", make))
        print(f"window {count} of {len(chosen)}", flush=True)
    found = summarise_records(records)
    print(table(found["metrics"]))
    if options.result is not None:
        info = dataset.windows[0].episode.info
        tasks = sorted({window.episode.info.task for window in dataset.windows})
        settings = {"task": ", ".join(tasks), "preset": info.preset, "split": options.split, "seed": options.seed}
        draws = reconstruct is not None  # a Gaussian field draws nothing in steps, and has no autoencoders
        settings |= {"sampler_steps": options.steps if draws else None}
        settings |= {"episodes": len({record["episode"] for record in records})}
        settings |= {"depth_noise": options.depth_noise, "features": extractor.name}
        if options.depth_noise:
            settings["note"] = "Only the model is given the noise: repeated films have true depth"
        write_json(options.result, settings | provenance(command_line(options), begun) | found)
        print(f"wrote {options.result}")


def table(summaries: dict[str, dict]) -> str:
    """Rows: metrics; columns: what is compared, each mean [interval]."""
    lines = [f"{'':22}" + "".join(f"{name:>28}" for name in summaries)]
    for metric in summaries["model"]:
        cells = [summary.get(metric, {"value": None}) for summary in summaries.values()]
        shown = [
            "-" if c["value"] is None else f"{c['value']:.3f} [{c['interval'][0]:.3f}, {c['interval'][1]:.3f}]"
            for c in cells
        ]
        lines.append(f"{metric:22}" + "".join(f"{text:>28}" for text in shown))
    return "\n".join(lines)


def command_line(options: Evaluate) -> str:
    """The command that makes this result again."""
    words = f"geo4d evaluate --data {options.data} --split {options.split} --windows {options.windows}"
    words += f" --steps {options.steps} --seed {options.seed}"
    words += " --depth-noise" if options.depth_noise else ""
    given = {"weights": options.weights, "path-model": options.path_model, "features": options.features}
    return words + "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
