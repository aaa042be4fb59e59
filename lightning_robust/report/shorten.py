"""Short names for the layers of one model."""

from collections.abc import Sequence


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Leave out the first parts that all names share, so that what tells them apart fits a table.

    Args:
        names: Layer strings.

    Returns:
        The short name of each; the name itself where nothing can be left out.

    Example:
        >>> short_names(["encoder.visual", "encoder.visual.layer3", "encoder.visual.layer4"])
        {'encoder.visual': 'visual', 'encoder.visual.layer3': 'visual.layer3', 'encoder.visual.layer4': 'visual.layer4'}
    """
    parts = {name: name.split(".") for name in names}
    # the shortest name keeps its last part
    most = min((len(found) for found in parts.values()), default=1) - 1
    shared = 0
    while shared < most and len({found[shared] for found in parts.values()}) == 1:
        shared += 1
    if any(found[shared].isdigit() for found in parts.values()):  # a number alone names nothing
        shared = max(0, shared - 1)
    return {name: ".".join(found[shared:]) for name, found in parts.items()}


def short_tails(names: Sequence[str], most: int = 40) -> list[str]:
    """Paths without their first folders where they are long, each still different from the others.

    Args:
        names: Names or paths.
        most: Characters of a name that is left as it is; of a longer one folders go until it fits, but for the last.

    Returns:
        As many, in order; what was shortened begins with `…/`.

    Example:
        >>> short_tails(["home/me/runs/007/wise_ft/alpha=0.50.safetensors", "scenes-clip"])
        ['…/007/wise_ft/alpha=0.50.safetensors', 'scenes-clip']
    """
    return [_tail(name, most, [other for other in names if other != name]) for name in names]


def _tail(name: str, most: int, others: Sequence[str]) -> str:
    parts, short = name.split("/"), name
    for start in range(1, len(parts)):
        tail = "/".join(parts[start:])
        if len(short) <= most or any(other == tail or other.endswith(f"/{tail}") for other in others):
            break
        short = f"…/{tail}"
    return short


def short_paths(names: Sequence[str]) -> list[str]:
    """Models by name, without the folders at either end that all of them share.

    Args:
        names: Names or paths; each stays different from the others.

    Returns:
        As many, in order; the names themselves where they share no folder, or one is no path of two folders or more
        (an architecture and its tag are both needed).

    Example:
        >>> short_paths(["runs/a/last.ckpt", "runs/b/last.ckpt"]), short_paths(["RN50/openai", "RN101/openai"])
        (['a', 'b'], ['RN50/openai', 'RN101/openai'])
    """
    if any(name.count("/") < 2 for name in names):
        return list(names)
    parts = [name.split("/") for name in names]
    for end in (0, -1):
        while len(parts) > 1 and all(len(found) > 1 and found[end] == parts[0][end] for found in parts):
            for found in parts:
                del found[end]
    return ["/".join(found) for found in parts]
