"""Broden (Bau et al. 2017), the concept set of Network Dissection, from its unpacked archive."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightning_robust.data.concept_sets.broden_cache import cached_findings
from lightning_robust.data.concept_sets.broden_index import BrodenIndex, read_broden
from lightning_robust.data.concept_sets.broden_labels import BrodenLabels
from lightning_robust.data.concept_sets.broden_masks import Findings
from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.reading import MAX_UNREADABLE, ImageFiles

__all__ = ["broden_concepts"]


def broden_concepts(
    folder: str | os.PathLike[str],
    transform: Transform | None = None,
    *,
    split: str | None = None,
    categories: Sequence[str] | None = None,
    shared: str = "merge",
    min_frequency: float = 0,
    min_coverage: float = 0,
    min_area: float = 0,
    num_workers: int = 0,
    max_unreadable: int = MAX_UNREADABLE,
) -> ConceptSet:
    r"""The images of a Broden folder with labels at the level of the image.

    A concept is a label number, a row of label.csv: the paper's 1,197. One that several categories use belongs to the
    one with the most images, as in Network Dissection; it is there if any of its categories' cells shows it, and can
    be absent only where the image was annotated for its first category. `shared="split"` makes a concept of each
    number in each category instead, named `fabric (object)`. All other labels are unknown.

    The first reading opens every mask (some 200,000: about a minute on one core) and keeps what it finds in the cache.

    Args:
        folder: The unpacked archive, with index.csv, label.csv, category.csv, c_<category>.csv and images/.
        transform: From a PIL image to a tensor.
        split: `"train"` (70 %), `"val"`, or None for both.
        categories: Only these, as if the other columns were not there; images annotated for none of them are left
            out. None takes all categories and all images.
        shared: `"merge"` or `"split"`.
        min_frequency: Leave out concepts that fewer images show, by the tables (the archive was made with 10).
        min_coverage: Leave out concepts that cover less, in images' worth of pixels, by the tables (made with 0.5).
        min_area: Share of the mask on which a concept has to be; smaller ones count as absent.
        num_workers: Worker processes for the first reading of the masks.
        max_unreadable: How many masks may be missing or damaged; their category is unknown for that image.

    Returns:
        The concept set, images in the order of index.csv, concepts by ascending number.

    Raises:
        ValueError: If the folder or a file is missing (the message says where the archive is to be had and what the
            layout is), tables contradict each other, an argument is out of range, nothing is left after the filters,
            or more masks than allowed cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images").mkdir()
        >>> tables = {
        ...     "index": "image,split,texture\ndtd/a.jpg,train,2\ndtd/b.jpg,val,2;1\nade20k/c.jpg,val,\n",
        ...     "label": "number,name,category,frequency,coverage\n1,dotted,texture(1),1,1\n2,red,texture(2),2,2\n",
        ...     "category": "name,first,last,count,frequency\ntexture,1,2,2,3\n",
        ...     "c_texture": "code,number,name,frequency,coverage\n1,2,red,2,2\n2,1,dotted,1,1\n",
        ... }
        >>> for name, text in tables.items():
        ...     _ = (folder / f"{name}.csv").write_text(text)
        >>> broden = broden_concepts(folder)
        >>> broden.concepts, broden.all_labels().tolist()
        (('dotted', 'red'), [[0, 1], [1, 1], [-1, -1]])

    References:
        Bau, Zhou, Khosla, Oliva, Torralba: Network Dissection, CVPR 2017.
    """
    if not 0 <= min_area <= 1 or min_frequency < 0 or min_coverage < 0 or max_unreadable < 0:
        raise ValueError(
            "min_area must lie in [0, 1], min_frequency, min_coverage and max_unreadable be at least 0; got "
            f"{min_area}, {min_frequency}, {min_coverage} and {max_unreadable}"
        )
    chosen = None if categories is None else tuple(categories)
    index = read_broden(folder, split=split, categories=chosen, shared=shared)
    concepts = tuple(c for c in index.concepts if c.frequency >= min_frequency and c.coverage >= min_coverage)
    if not concepts or not index.rows:
        raise ValueError(
            f"Nothing is left of Broden in {folder}: {len(index.rows)} images and {len(concepts)} of "
            f"{len(index.concepts)} concepts pass split, categories, min_frequency and min_coverage"
        )
    findings = cached_findings(index, num_workers=num_workers, max_unreadable=max_unreadable)
    _warn(index, findings)
    labels = BrodenLabels(concepts, index.categories, findings, min_area)
    source = (
        f"Broden in {Path(folder).name}, {split or 'all'} images, {', '.join(index.categories)}; shared labels "
        f"{shared}, min_frequency {min_frequency:g}, min_coverage {min_coverage:g}, min_area {min_area:g}"
    )
    images = ImageFiles([index.folder / "images" / row.image for row in index.rows])
    names, firsts = [c.name for c in concepts], [c.categories[0] for c in concepts]
    return ConceptSet("broden", source, names, firsts, images, labels, transform)


def _warn(index: BrodenIndex, findings: Findings) -> None:
    if findings.unreadable:
        warnings.warn(
            f"{len(findings.unreadable)} masks of Broden cannot be read, and what they label is unknown: "
            f"{'; '.join(findings.unreadable)}",
            stacklevel=3,
        )
    known = [(k, c.number) for c in index.concepts for k, name in enumerate(index.categories) if name in c.categories]
    width = max([number for _, number in known] + [int(findings.number.max(initial=0))]) + 1
    present = np.unique(findings.category.astype(np.int64) * width + findings.number)
    if len(strange := np.setdiff1d(present, [k * width + number for k, number in known])):
        k, number = divmod(int(strange[0]), width)
        warnings.warn(
            f"{len(strange)} labels of masks or cells are not in label.csv and are passed over, the first of them "
            f"number {number} in category {index.categories[k]!r}",
            stacklevel=3,
        )
