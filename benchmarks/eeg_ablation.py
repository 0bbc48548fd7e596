"""What each part of the road of EEG adds: every part left out in turn, over several seeds.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/eeg_ablation.py --output FOLDER [--seeds 4]
It needs the recordings of BIOSIG_TEST_DATA (or ../shared/data), and takes 15 seconds of a core
for a variant and seed. What is finished is not done again: the same line goes on, or prints the
table.

A seed sets the weights, the order of windows, and who is asked: two of the 8 people of EEGMAT, whom
no part of the training saw, so that four seeds ask each person once. Four others train, two choose
the epoch. Phase 1 asks hidden patches, age and sex, on EEGMAT and on a second data set of another
montage (EEGLAB's sample trains, a person of EEGMMIDB validates). Phase 2 is contrast of the states
`rest` and `arithmetic` of different people: it is told what the probe asks, of those who train.

An answer is the AUROC over the windows of a seed's two people, the mean over seeds beside its
spread; intervals draw the 8 people again.
"""

import argparse
import contextlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from biosig_cli.cli import run
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import find_checkpoint
from biosig_cli.report.terminal import align
from biosig_cli.services.evaluate_models import Asking, open_candidate, random_twin
from biosig_cli.tasks.examples import Examples, find_examples
from biosig_cli.tasks.features import hand_made
from biosig_cli.tasks.folds import one_fold
from biosig_cli.tasks.probes import probe

DATA = Path(os.environ.get("BIOSIG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHARED = ["F3", "Fz", "F4", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2"]
OTHERS = ["Fpz", "FC5", "FC1", "FC2", "FC6", "CP5", "CP1", "CP2", "CP6", "PO7", "PO3", "POz"]
OTHERS += ["PO4", "PO8", "Oz"]
PHASE_1, PHASE_2, LABELLED = 5, 3, 5
"""Epochs of hidden patches, of contrast, and with labels."""
SIZE = {"model.width": 48, "model.n_layers": 1, "model.n_heads": 4, "model.patch_size": 50}
HEADS = "{age: {kind: regression}, sex: {kind: classification}}"
FULL = "both phases"
VARIANTS: dict[str, dict[str, str]] = {
    FULL: {},
    "without auxiliary": {"objectives.auxiliary": "null"},
    "one data set": {},
    "adapter select": {
        "model.adapter": f"{{kind: select, electrodes: [{', '.join(SHARED)}]}}",
    },
    "adapter zero_pad": {"model.adapter": "{kind: zero_pad}"},
    "adapter spline": {"model.adapter": "{kind: spline}"},
    "adapter perceiver": {"model.adapter": "{kind: perceiver}"},
}
"""What differs in phase 1."""
ANSWERS = (
    *VARIANTS,
    *("without contrast", "random weights", "band powers"),
    *("both phases, fine-tuned", "from scratch"),
)

Values = NDArray[np.float64]
ASKING = Asking(batch_size=128, device="cpu")
LABEL, N_DRAWN = "arithmetic", 300


def main() -> None:
    """Run what is not finished yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    for seed in range(asked.seeds):
        place = asked.output / f"seed_{seed}"
        build(place, seed)
        for variant in VARIANTS:
            finish(variant, place, seed)
        compare_fine_tuned(place, seed)
    show([asked.output / f"seed_{seed}" for seed in range(asked.seeds)])


def build(place: Path, seed: int) -> None:
    """Cut the windows of both data sets; the first two people of an order are asked."""
    people = sorted({path.name[:9] for path in (DATA / "eegmat").glob("*.edf")})
    rounds, number = divmod(seed, len(people) // 2)
    order = np.roll(np.random.default_rng(rounds).permutation(people), -2 * number).tolist()
    recipe = yaml.safe_load((Path(__file__).parents[1] / "configs" / "eeg.yaml").read_text("utf-8"))
    recipe["prepare_splits"]["splits"] = {
        name: [f"{who}_{number}" for who in whose for number in (1, 2)]
        for name, whose in (("test", order[:2]), ("val", order[2:4]), ("train", order[4:]))
    }
    # Each file is one state from end to end.
    recipe["windows"]["segments"] = [
        {"name": "rest", "records": "_1$", "anchor": [], "to_s": 180},
        {"name": "arithmetic", "records": "_2$", "anchor": [], "to_s": 60},
    ]
    cut(place / "eegmat", DATA / "eegmat", recipe)
    other = place / "other_files"
    other.mkdir(parents=True, exist_ok=True)
    for path in (DATA / "eeglab").glob("eeglab_data.*"):
        link(other / path.name, path)
    link(other / "S001R01.edf", DATA / "eegmmidb" / "S001R01.edf")
    recipe["dataset"] = {"name": "EEGLAB's sample and EEGMMIDB", "subject": "(.*)"}
    recipe["channels"]["EEG"]["electrodes"] = SHARED + OTHERS
    recipe["prepare_splits"]["splits"] = {
        "train": ["eeglab_data"],
        "val": ["S001R01"],
        "test": [],
    }
    del recipe["windows"]["segments"]
    cut(place / "other", other, recipe)


def link(path: Path, to: Path) -> None:
    """Make a link, unless it is there."""
    if not path.is_symlink():
        path.symlink_to(to.resolve())


def cut(store: Path, source: Path, recipe: Mapping[str, object]) -> None:
    """Split recordings and cut windows, unless that is done."""
    if (store / "val" / "manifest.json").is_file():
        return
    file = store.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(recipe, sort_keys=False), "utf-8")
    splits = store.with_name(f"{store.name}_splits")
    did("prepare-splits", "--config", file, "--source", source, "--output", splits)
    split_file = splits / "splits_full.json"
    did(*("build-windows", "--config", file, "--split-file", split_file, "--outdir", store))


def finish(variant: str, place: Path, seed: int) -> None:
    """Pretrain a variant and ask the people who were left out, unless that is done."""
    folder = place / variant.replace(" ", "_")
    stores = [place / "eegmat"] + [place / "other"] * (variant != "one data set")
    changed = {**SIZE, "objectives.auxiliary.heads": HEADS, **VARIANTS[variant]}
    if VARIANTS[variant].get("objectives.auxiliary") == "null":
        del changed["objectives.auxiliary.heads"]
    first = folder / "phase_1"
    pretrain(first, seed, "eeg_phase1b", stores, PHASE_1, changed | {"plan.lr": 2e-3})
    states = {
        "objectives.contrastive.groups.states": "[rest, arithmetic]",
        "move.frozen_epochs": 1,
        "plan.lr": 1e-3,
    }
    second = folder / "phase_2"
    origin = ["--init-from", first]
    pretrain(second, seed, "eeg_phase2", [place / "eegmat"], PHASE_2, states, origin)
    write(place, variant, lambda: probed(second, place))
    if variant == FULL:
        write(place, "without contrast", lambda: probed(first, place))
        write(place, "random weights", lambda: probed(first, place, of="random"))
        write(place, "band powers", lambda: probed(first, place, of="features"))


def pretrain(
    folder: Path,
    seed: int,
    config: str,
    stores: Sequence[Path],
    epochs: int,
    changed: Mapping[str, object],
    more: Sequence[object] = (),
) -> None:
    """Pretrain by a shipped config, unless that is done."""
    if is_done(folder):
        return
    settings = {"probe": "null", "plan.batch_size": 64, "plan.warmup_epochs": 1, **changed}
    did(
        *("pretrain", "--config", config, *more, "--epochs", epochs, "--seed", seed),
        *(each for store in stores for each in ("--data-dir", store)),
        *("--output-dir", folder, "--device", "cpu", "--save-every", 1000),
        *(each for name, value in settings.items() for each in ("--set", f"{name}={value}")),
        *(["--resume"] if folder.is_dir() else []),
    )


def compare_fine_tuned(place: Path, seed: int) -> None:
    """Train with labels, from what both phases made and from random weights, unless it is done."""
    parent = place / FULL.replace(" ", "_") / "phase_2"
    for name, more in (("both phases, fine-tuned", ()), ("from scratch", ("--from-scratch",))):
        folder = place / name.replace(" ", "_").replace(",", "")
        if not is_done(folder):
            did(
                *("finetune", "--pretrained", parent, *more, "--data-dir", place / "eegmat"),
                *("--task", "classification", "--label", "arithmetic", "--device", "cpu"),
                *(
                    "--epochs",
                    LABELLED,
                    "--head-only-epochs",
                    2,
                    "--unfreeze-last-n",
                    1,
                    "--lr",
                    2e-4,
                    "--seed",
                    seed,
                ),
                *("--output-dir", folder, *(["--resume"] if folder.is_dir() else [])),
            )
        write(place, name, lambda folder=folder: fine_tuned(folder, place))


def probed(folder: Path, place: Path, of: str = "encoder") -> tuple[Examples, Values]:
    """Fit a line to what a frozen encoder (or a random one, or no encoder) makes of the windows."""
    model = open_candidate(find_checkpoint(folder), folder.name)
    stores = {split: open_split(place / "eegmat", split) for split in ("train", "val", "test")}
    parts = {split: find_examples(each, LABEL, classes=[0, 1]) for split, each in stores.items()}
    model = model.fitted_to(stores["test"].spec)
    encoder = random_twin(model, model.content["config"]["seed"]) if of == "random" else None

    def describe(split: str) -> Values:
        if of == "features":
            return hand_made(stores[split], parts[split].row, stores[split].spec.names).values
        return ASKING.embed(encoder or model.encoder, stores[split], parts[split].row)

    examples, fold = one_fold(parts["train"], parts["val"], parts["test"])
    made = np.concatenate([describe(split) for split in stores])
    answer = probe("linear", made, examples, fold, n_classes=2, name=of)
    return parts["test"], answer.score[:, 1]


def fine_tuned(folder: Path, place: Path) -> tuple[Examples, Values]:
    """Ask a fine-tuned model."""
    store = open_split(place / "eegmat", "test")
    examples = find_examples(store, LABEL, classes=[0, 1])
    model = open_candidate(find_checkpoint(folder), folder.name)
    return examples, ASKING.answer(model, store, examples.row)[:, 1]


def write(place: Path, name: str, ask: Callable[[], tuple[Examples, Values]]) -> None:
    """Write what is answered to each window of the people who were left out, unless it is there."""
    path = place / f"{name}.npz"
    if not path.is_file():
        examples, said = ask()
        np.savez(path, subject=examples.subject, target=examples.target, said=said)
        print(f"{place.name}: {name} {roc_auc_score(examples.target, said):.3f}", flush=True)


def is_done(folder: Path) -> bool:
    """Say whether a training is finished."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and "best" in json.loads(manifest.read_text("utf-8"))


def did(*arguments: object) -> None:
    """Run a command of ours; what it says is told only where it fails."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = run([str(each) for each in arguments])
    if code:
        raise SystemExit(f"biosig {' '.join(map(str, arguments))}\n{told.getvalue()}")


def auroc(said: Mapping[str, NDArray[Any]], people: Sequence[str]) -> float:
    """Return the AUROC over the windows of `people`, who may come several times; NaN for none."""
    times = np.array([people.count(who) for who in said["subject"].tolist()])
    if not times.any():
        return np.nan
    return float(roc_auc_score(said["target"], said["said"], sample_weight=times))


def show(places: Sequence[Path]) -> None:
    """Print the table: mean and spread over seeds, intervals over people, and against `FULL`."""
    answers = {name: [dict(np.load(at / f"{name}.npz")) for at in places] for name in ANSWERS}
    people = sorted({who for said in answers[FULL] for who in said["subject"].tolist()})
    draw = np.random.default_rng(0)
    drawn = [draw.choice(people, len(people)).tolist() for _ in range(N_DRAWN)]
    whole, again = {}, {}
    for name, each in answers.items():
        whole[name] = np.array([auroc(said, people) for said in each])
        again[name] = np.array([[auroc(said, some) for said in each] for some in drawn])
    rows = []
    for name in ANSWERS:
        gap = [whole[name] - whole[FULL], again[name] - again[FULL]]
        against = "" if name == FULL else told(*gap, sign="+")
        rows.append((name, told(whole[name], again[name]), against))
    of = f"{len(places)} seeds, {len(people)} people"
    columns = (f"variant, {of}", "AUROC ± spread over seeds (95 % over people)", f"against {FULL}")
    print(align(columns, rows).plain, flush=True)


def told(each: Values, drawn: Values, sign: str = "") -> str:
    """Return a mean over seeds, their spread, and an interval over people, in words."""
    low, high = np.percentile(np.nanmean(drawn, axis=1), [2.5, 97.5])
    spread = each.std(ddof=1) if len(each) > 1 else np.nan
    return f"{each.mean():{sign}.3f} ± {spread:.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


if __name__ == "__main__":
    main()
