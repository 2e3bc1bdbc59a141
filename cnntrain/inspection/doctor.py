"""Problems in a data set, found before training: leaks, duplicates, missing and tiny classes."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.runtime.wording import counted

SPLITS = ("train", "validation", "test")
IMBALANCE = 10  # ratio of the largest class to the smallest, from which on it is worth mentioning
NEAR_BITS = 3  # how many of a hash's 64 bits may differ between near duplicates
NEAR_LEVELS = 6  # how much, of 255, the colors of near duplicates may differ on average
CROWDED = 50  # number of images that share a quarter of a hash, from which on the quarter means nothing
NAMED = 3


@dataclass(frozen=True)
class Diagnosis:
    """Something to look at; `pointless` if training on such data would be pointless."""

    text: str
    pointless: bool = False


def examine(labeled: LabeledImages) -> list[Diagnosis]:
    """All problems in a data set, the worst first."""
    found = [*bad_files(labeled), *class_problems(labeled), *duplicates(labeled)]
    return sorted(found, key=lambda diagnosis: not diagnosis.pointless)


def bad_files(labeled: LabeledImages) -> Iterator[Diagnosis]:
    """Files that were left out, and what was read differently from how it is written."""
    yield from map(Diagnosis, labeled.train.table.notes)
    if labeled.quarantined:
        named = "; ".join(f"{path}: {reason}" for path, reason in labeled.quarantined[:NAMED])
        files = counted(len(labeled.quarantined), "file")
        yield Diagnosis(f"{files} can't be used: {named}{dots(labeled.quarantined)}")


def class_problems(labeled: LabeledImages) -> Iterator[Diagnosis]:
    """Classes missing from a split, and classes of very different sizes."""
    for split in SPLITS:
        examples = labeled.split(split)
        counts = examples.class_counts()
        missing = [name for name, count in zip(labeled.class_names, counts, strict=True) if not count]
        if len(examples) and missing:
            text = f"{split} has no image of {', '.join(missing[:NAMED])}{dots(missing)}"
            yield Diagnosis(text, pointless=split == "train")
    counts = labeled.train.class_counts()
    least, most = counts[counts > 0].min(), counts.max()
    if most >= IMBALANCE * least:
        names = labeled.class_names
        small, large = names[int(np.where(counts > 0, counts, most).argmin())], names[int(counts.argmax())]
        yield Diagnosis(
            f"{large} has {counted(most, 'training image')}, {small} {least:,};"
            " class_weights=balanced weighs them alike"
        )


def duplicates(labeled: LabeledImages) -> Iterator[Diagnosis]:
    """Duplicate images, above all those in two splits or two classes."""
    members = [(split, row) for split in SPLITS for row in labeled.split(split).rows.tolist()]
    images = labeled.train.table.images
    digests = [hashlib.blake2b(images.content(row), digest_size=16).digest() for _, row in members]
    groups = groups_of(digests)
    equal = {pair for group in groups for pair in itertools.combinations(group, 2) if len(group) <= CROWDED}
    if groups:
        extra = sum(len(group) - 1 for group in groups)
        yield Diagnosis(f"{counted(extra, 'image occurs', 'images occur')} again, byte for byte")
    yield from across(labeled, members, sorted(equal), "the same image")
    checked = len(labeled.validation) + len(labeled.test)
    leaked = {two for one, two in equal if members[one][0] == "train" != members[two][0]}
    if checked and len(leaked) > checked / 2:
        text = "most validation and test images are training images too: results would mean nothing"
        yield Diagnosis(text, pointless=True)
    near = near_pairs(labeled) - equal
    yield from across(labeled, members, sorted(near), "nearly the same image")


def across(
    labeled: LabeledImages, members: Sequence[tuple[str, int]], pairs: Sequence[tuple[int, int]], what: str
) -> Iterator[Diagnosis]:
    """Pairs of positions among the members that are in two splits, or in two classes."""
    table = labeled.train.table

    def named(pair: tuple[int, int]) -> str:
        return " and ".join(f"{members[n][0]}: {table.names[members[n][1]]}" for n in pair)

    leaks = [pair for pair in pairs if members[pair[0]][0] != members[pair[1]][0]]
    if leaks:
        listed = "; ".join(map(named, leaks[:NAMED]))
        yield Diagnosis(f"{once(len(leaks))} {what} is in two splits: {listed}{dots(leaks)}")
    torn = [pair for pair in pairs if table.labels[members[pair[0]][1]] != table.labels[members[pair[1]][1]]]
    if torn:
        listed = "; ".join(map(named, torn[:NAMED]))
        yield Diagnosis(f"{once(len(torn))} {what} is in two classes: {listed}{dots(torn)}")


def once(number: int) -> str:
    """How often, in words."""
    return "once" if number == 1 else f"{number:,} times"


def groups_of(keys: Sequence[bytes]) -> list[list[int]]:
    """Positions of equal keys, if there are two or more."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        groups[key].append(position)
    return [group for group in groups.values() if len(group) > 1]


def thumbnails(labeled: LabeledImages, size: tuple[int, int], channels: int) -> np.ndarray:
    """All images, split by split, as small uint8 pictures (n, height, width, channels)."""
    from cnntrain.data.pipeline import Batches, NetworkInput

    expected = NetworkInput(image_size=size, channels=channels, resize="stretch", antialias=True, preprocess="unit")
    rows = np.concatenate([labeled.split(split).rows for split in SPLITS])
    batches = Batches(Examples(labeled.train.table, rows), expected, batch_size=256).epoch()
    return np.concatenate([np.rint(images.numpy() * 255).astype(np.uint8) for images, *_ in batches])


def difference_hashes(gray: np.ndarray) -> np.ndarray:
    """uint64 hashes (n,) of thumbnails (n, 8, 9): whether each of 8×8 pixels is darker than the next.

    Source: Krawetz, "Kind of Like That", 2013.
    """
    darker = gray[:, :, :-1] < gray[:, :, 1:]  # (n, 8, 8)
    return np.packbits(darker.reshape(len(darker), 64), axis=1).view(np.uint64)[:, 0]


def near_pairs(labeled: LabeledImages) -> set[tuple[int, int]]:
    """Positions of images that look alike: with similar hashes, and nearly the same colors everywhere."""
    hashes = difference_hashes(thumbnails(labeled, (8, 9), 1)[..., 0])
    colors = thumbnails(labeled, (16, 16), 3).astype(np.int16)
    return {
        (one, two)
        for one, two in similar_hashes(hashes)
        if np.abs(colors[one] - colors[two]).mean() <= NEAR_LEVELS
    }


def similar_hashes(hashes: np.ndarray) -> set[tuple[int, int]]:
    """Pairs whose hashes differ in at most three bits, which means that at least one of their four quarters is equal.

    Quarters that many images share (such as those of a uniform background) are skipped.
    """
    quarters = hashes.view(np.uint16).reshape(-1, 4)
    pairs = set()
    for place in range(4):
        groups: dict[int, list[int]] = defaultdict(list)
        for position, quarter in enumerate(quarters[:, place].tolist()):
            groups[quarter].append(position)
        for group in groups.values():
            if len(group) <= CROWDED:
                pairs |= {
                    (one, two)
                    for one, two in itertools.combinations(group, 2)
                    if int(hashes[one] ^ hashes[two]).bit_count() <= NEAR_BITS
                }
    return pairs


def dots(items: Sequence[object]) -> str:
    """What follows a list if only its first items are shown."""
    return ", …" if len(items) > NAMED else ""
