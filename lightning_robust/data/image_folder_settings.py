"""Checks of what `ImageFolderDataModule` is given, and the names that its prompts take."""

import re
from collections.abc import Mapping, Sequence

from lightning_robust.data.image_folder_classes import near, normal_form
from lightning_robust.data.labelled.source import in_words

__all__ = ["check_fractions", "check_numbers", "check_set_names", "check_templates", "prompt_names"]


def check_numbers(at_least_one: Mapping[str, int | None], at_least_zero: Mapping[str, int]) -> None:
    """Refuse a number that is too small.

    Raises:
        ValueError: If one is.
    """
    for least, numbers in ((1, at_least_one), (0, at_least_zero)):
        for name, number in numbers.items():
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse shares that are no division into train, val and test.

    Raises:
        ValueError: If they are not three positive numbers with the sum 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise ValueError(f"fractions must be three positive shares (train, val, test) with sum 1, got {fractions}")


def check_set_names(names: Sequence[str]) -> None:
    """Refuse names of sets that cannot stand in tags and file names, are those of other figures, or not different.

    Args:
        names: Of the reference, which may be called so, and of the shifts.

    Raises:
        ValueError: If one cannot, or two are the same.
    """
    for name in names:
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"The set name {name!r} has to be letters, digits, '_', '.' and '-': it stands in tags")
        if name in ("shifts", "mean"):
            raise ValueError(f"No set can be called {name!r}, which is the mean over shifts; give it a name: spec")
        if name == "reference" and name in names[1:]:
            raise ValueError("No shift can be called 'reference', which baselines and tables call the other set")
        if names.count(name) > 1:
            raise ValueError(f"Two sets are called {name!r}; give shifts names of their own, as name: spec")


def check_templates(templates: Sequence[str]) -> None:
    """Refuse prompts without a place for the class.

    Raises:
        ValueError: If there is none, or one has no `{}`.
    """
    if not templates:
        raise ValueError("templates must hold at least one prompt, such as 'a photo of a {}.'")
    if wrong := [template for template in templates if "{}" not in template]:
        raise ValueError(f"The template {wrong[0]!r} has no {{}} for the class name")


def prompt_names(classes: Sequence[str], given: Sequence[str] | Mapping[str, str] | None) -> list[str]:
    """Names of the classes for prompts.

    Args:
        classes: The classes as the source calls them.
        given: All names in order, or some by class; None: spaces for underscores.

    Raises:
        ValueError: If a list has another length than there are classes, a class named is none, or two classes would
            have one name.

    Example:
        >>> prompt_names(["hot_dog", "n02084071"], {"n02084071": "dog"})
        ['hot dog', 'dog']
    """
    names = _names(classes, given)
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if (other := first.setdefault(name, index)) != index:
            raise ValueError(
                f"The classes {classes[other]!r} and {classes[index]!r} have the same name for prompts, {name!r}; "
                "class_names can tell them apart"
            )
    return names


def _names(classes: Sequence[str], given: Sequence[str] | Mapping[str, str] | None) -> list[str]:
    plain = [name.replace("_", " ") for name in classes]
    if given is None:
        return plain
    if isinstance(given, Mapping):
        by_form = {normal_form(name): name for name in classes} | {name: name for name in classes}
        for name in given:
            if name not in by_form and normal_form(name) not in by_form:
                raise ValueError(f"class_names names {name!r}, which is no class{near(name, classes)}")
        renamed = {by_form.get(name) or by_form[normal_form(name)]: text for name, text in given.items()}
        return [renamed.get(name, text) for name, text in zip(classes, plain, strict=True)]
    if len(given) != len(classes):
        raise ValueError(f"The {len(classes)} classes ({in_words(classes)}) need as many class_names, got {len(given)}")
    return list(given)
