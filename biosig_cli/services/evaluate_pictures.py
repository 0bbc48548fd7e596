"""What the report draws: maps of embeddings, and the windows that were answered most wrongly."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from biosig_cli.data.store import WindowStore
from biosig_cli.report.evaluation_material import DrawnMistake, Material
from biosig_cli.services.evaluate_answers import Comparison
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.metrics import decide

Values = NDArray[np.float64]
N_MISTAKES = 6
FEWEST, MOST = 10, 2000
"""Windows that a map by neighbours needs, and is drawn in seconds for."""
PERPLEXITY = 30


def gather_material(compared: Comparison, answer: Answer) -> Material:
    """Return what the page draws of the first model's answers."""
    test = compared.data.parts["test"]
    score = answer.score if answer.n_classes is None else answer.score[:, -1]
    store = compared.data.stores["test"]
    vectors = compared.asking.embed(compared.models[0].encoder, store, test.row)
    return Material(
        target=test.target,
        score=score,
        subject=test.subject,
        record=test.record,
        embedding=maps(vectors, compared.config.seed),
        mistakes=worst(compared, answer),
    )


def maps(vectors: Values, seed: int) -> dict[str, Values]:
    """Return (N, 2) maps of embeddings: PCA, and t-SNE where there are not too many windows.

    Source:
        van der Maaten, Hinton, JMLR 9:2579 (2008), through scikit-learn.
    """
    if len(vectors) < FEWEST:
        return {}
    scaled = StandardScaler().fit_transform(vectors)
    found = {"PCA": PCA(2, random_state=seed).fit_transform(scaled)}
    if len(vectors) <= MOST:
        perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        found["t-SNE"] = tsne.fit_transform(scaled)
    return found


def worst(compared: Comparison, answer: Answer) -> list[DrawnMistake]:
    """Return the windows that were answered wrongly with the most confidence."""
    test, task = compared.data.parts["test"], compared.data.task
    if answer.n_classes is None:
        errors = np.abs(answer.score - test.target)
        said = [task.say(value) for value in answer.score]
    else:
        decided = decide(answer.score, answer.threshold)
        sure = answer.score[np.arange(len(test)), decided]
        errors = np.where(decided != test.target, sure, -1.0)
        said = [f"{task.say(n)} ({each:.2f})" for n, each in zip(decided, sure, strict=True)]
    order = np.argsort(-errors, kind="stable")[:N_MISTAKES]
    places = [int(place) for place in order if errors[place] > 0]
    store: WindowStore = compared.data.stores["test"]
    windows = store.physical(test.row[places])
    channels = [(each.name, each.kind, each.unit) for each in store.spec.channels]
    return [
        DrawnMistake(
            title=f"{where(test.subject[place], test.record[place], test.start_s[place])}: "
            f"true {task.say(test.target[place])}, predicted {said[place]}",
            signal=window,
            channels=channels,
            sampling_hz=store.spec.sampling_hz,
        )
        for place, window in zip(places, windows, strict=True)
    ]


def where(subject: str, record: str, start_s: float) -> str:
    """Return where a window comes from, as far as it is known."""
    parts = [f"record {record}" if record else "", f"subject {subject}" if subject else ""]
    moment = f"at {start_s:g} s" if np.isfinite(start_s) else ""
    return " ".join(filter(None, [next(filter(None, parts), "a window"), moment]))
