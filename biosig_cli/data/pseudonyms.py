"""Ids that name nobody: the same person has the same one everywhere, and it can't be read back.

With a key (`BIOSIG_SUBJECT_KEY`) only who has it can make the pseudonym of an id. Without one,
whoever guesses an id can check the guess, and ids of three digits are soon guessed.
"""

import hashlib
import hmac
import re

from biosig_cli.data.splits import Splits

LENGTH = 16
"""Hexadecimal digits of a pseudonym; among a million ids two are equal once in 40 million."""
METHODS = {False: "sha256", True: "hmac-sha256"}


def pseudonym(name: str, key: str = "") -> str:
    """Return what stands for an id."""
    if not key:
        return hashlib.sha256(name.encode()).hexdigest()[:LENGTH]
    return hmac.new(key.encode(), name.encode(), "sha256").hexdigest()[:LENGTH]


def hide_subjects(splits: Splits, key: str = "") -> Splits:
    """Return splits whose subjects are pseudonyms; subjects that are ones already stay.

    Cases keep their ids, which are the names of files: without them nothing could be read.
    """
    if is_hidden(splits):
        return splits
    subjects = {case: pseudonym(subject, key) for case, subject in splits.subjects.items()}
    meta = {**splits.meta, "hash_subjects": METHODS[bool(key)]}
    return Splits(splits.cases, subjects, meta)


def is_hidden(splits: Splits) -> bool:
    """Return whether the subjects of a split file are pseudonyms."""
    return bool(splits.meta.get("hash_subjects"))


def hide_in(text: str, name: str, key: str = "") -> str:
    """Return a message with the pseudonym of `name` in its place, where it stands as a word."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?![^\W_])", pseudonym(name, key), text)
