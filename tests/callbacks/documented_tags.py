"""The tags that a monitor's docstring promises, read from its text."""

import re


def documented(cls, heading, **names):
    """Tags listed under a heading of the docstring, with `<layer>` and the like replaced by every given name."""
    text = cls.__doc__.split(heading, 1)[1]
    templates = []
    for line in text.splitlines()[1:]:
        found = re.match(r" {8}`([^`]+)`: ", line)
        if found:
            templates.append(found.group(1))
        elif line.strip() and not line.startswith(" " * 8) and templates:
            break
    return {tag for template in templates for tag in _expand(template, names)}


def _expand(template, names):
    holes = re.findall(r"<(\w+)>", template)
    tags = [template]
    for hole in dict.fromkeys(holes):
        tags = [tag.replace(f"<{hole}>", name) for tag in tags for name in names[hole]]
    return tags
