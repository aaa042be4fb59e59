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


def short_paths(names: Sequence[str]) -> list[str]:
    """Models by name, without the folders that all of them share.

    Args:
        names: Names or paths; each stays different from the others.

    Returns:
        As many, in order; the names themselves where they share no folder.

    Example:
        >>> short_paths(["runs/a/last.ckpt", "runs/b/last.ckpt"]), short_paths(["RN50/openai", "scenes-clip"])
        (['a/last.ckpt', 'b/last.ckpt'], ['RN50/openai', 'scenes-clip'])
    """
    parts = [name.split("/") for name in names]
    shared = 0
    while all(len(found) > shared + 1 and found[shared] == parts[0][shared] for found in parts):
        shared += 1
    return ["/".join(found[shared:]) for found in parts]
