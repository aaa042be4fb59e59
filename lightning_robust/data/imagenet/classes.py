"""The 1,000 ImageNet classes and the 200 of ImageNet-R and -A, from the lists that timm and open_clip carry.

timm's `data/_info` has the wnids in the order of the labels 0 to 999 and the subsets, open_clip the class names and
prompts of CLIP. Classes are always meant by position: two names occur twice (`missile` 657 and 744, `sunglasses` 836
and 837), so a name is no key.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["A_SYNSETS", "R_SYNSETS", "class_names", "class_words", "subset", "templates", "wnids"]

#: timm's lists of the classes that ImageNet-R and -A cover.
R_SYNSETS, A_SYNSETS = "imagenet_r_synsets.txt", "imagenet_a_synsets.txt"


@cache
def wnids() -> tuple[str, ...]:
    """WordNet ids of the classes 0 to 999; they are the names of the class folders, and sorted.

    Raises:
        ValueError: If timm does not carry the list.

    Example:
        >>> len(wnids()), wnids()[:2]
        (1000, ('n01440764', 'n01443537'))
    """
    return tuple(_lines("imagenet_synsets.txt"))


@cache
def subset(file: str) -> tuple[int, ...]:
    """The classes of a shift, ascending, which is also the order of their wnids.

    Args:
        file: `R_SYNSETS` or `A_SYNSETS`.

    Raises:
        ValueError: If timm does not carry the list.

    Example:
        >>> len(subset(R_SYNSETS)), len(subset(A_SYNSETS)), len({*subset(R_SYNSETS)} & {*subset(A_SYNSETS)})
        (200, 200, 86)
    """
    position = {wnid: index for index, wnid in enumerate(wnids())}
    return tuple(sorted(position[wnid] for wnid in _lines(file)))


@cache
def class_words() -> tuple[str, ...]:
    """WordNet's words for each class, such as `tench, Tinca tinca`: what tables of ImageNet call them.

    Raises:
        ValueError: If timm does not carry the list.
    """
    words = dict(line.split("\t", 1) for line in _lines("imagenet_synset_to_lemma.txt"))
    return tuple(words[wnid] for wnid in wnids())


def class_names() -> list[str]:
    """CLIP's names for the classes 0 to 999 (Radford et al. 2021), as open_clip has them.

    Example:
        >>> [(k, name) for k, name in enumerate(class_names()) if name in ("missile", "sunglasses")]
        [(657, 'missile'), (744, 'missile'), (836, 'sunglasses'), (837, 'sunglasses')]
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES  # takes a second, and folders do without it

    return list(IMAGENET_CLASSNAMES)


def templates() -> list[str]:
    """CLIP's 80 prompts for ImageNet, with `{}` where the class name goes.

    Example:
        >>> len(templates()), templates()[0]
        (80, 'a bad photo of a {}.')
    """
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]


def _lines(name: str) -> list[str]:
    """A list of timm's, without importing timm and torch for it."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise ValueError("the ImageNet classes come with timm, which is not installed: pip install timm")
    file = Path(spec.origin).parent / "data" / "_info" / name
    if not file.is_file():
        raise ValueError(f"timm carries no data/_info/{name}; timm 1.0.20 and later do")
    return file.read_text(encoding="utf-8").splitlines()
