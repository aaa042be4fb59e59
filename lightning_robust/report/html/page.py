"""The page: sections in a skeleton that loads nothing, with a policy that lets nothing else run."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

import lightning_robust
from lightning_robust.errors import UserError
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sections import sections_of
from lightning_robust.report.html.sources import Sources
from lightning_robust.results import atomic_write

__all__ = ["LARGEST", "page_of", "policy", "render", "write_page"]

#: Bytes that a page of a run should stay below.
LARGEST = 3_000_000
_SHOWN_AS_WRITTEN = "\t\n"
#: What text from data may not do: break the encoding (half of a pair, control characters), or turn round the order in
#: which words and figures are read (marks of writing direction).
_UNSEEN = dict.fromkeys(
    (
        *(code for code in range(0x20) if chr(code) not in _SHOWN_AS_WRITTEN),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    ),
    "\ufffd",
)


def render(title: str, about: str, sections: Sequence[Section]) -> str:
    """Put sections into the page; characters that text cannot show stand as U+FFFD.

    Args:
        title: what the page is of, plain text.
        about: a line under it, plain text.
        sections: in order.

    Raises:
        ValueError: two sections have one id.

    Example:
        >>> page = render("<b>", "", [Section(id="one", title="One", body=Markup("<p>1</p>"))])
        >>> "<h1>&lt;b&gt;</h1>" in page
        True
    """
    ids = [section.id for section in sections]
    if len(set(ids)) < len(ids):
        raise ValueError(f"every section needs an id of its own, got {ids}")
    style, script = _text("page.css"), _text("page.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page: str = environment.from_string(_text("page.html")).render(
        title=title,
        about=about,
        sections=sections,
        version=lightning_robust.__version__,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
    )
    return page.translate(_UNSEEN)


def policy(style: str, script: str) -> str:
    """The page's content security policy: its own style and script by their hashes, pictures inside it, nothing else.

    Args:
        style: the text of the page's ``style`` element.
        script: the text of its ``script`` element.
    """
    allowed = {"style-src": _digest(style), "script-src": _digest(script), "img-src": "data:"}
    closed = dict.fromkeys(("base-uri", "form-action"), "'none'")
    return "; ".join(f"{key} {value}" for key, value in {"default-src": "'none'", **allowed, **closed}.items())


def page_of(found: Sources) -> str:
    """The page of what was found.

    Args:
        found: result files.

    Raises:
        UserError: no section has anything to say of it, or figures in it that cannot be.
    """
    sections = list(sections_of(found))
    if not sections:
        raise UserError(f"there is nothing to show of {found.folder}")
    return render(_title(found), _about(found), sections)


def write_page(found: Sources, path: Path) -> int:
    """Write the page of what was found, whole or not at all.

    Args:
        found: result files.
        path: the HTML file.

    Returns:
        Its size in bytes.

    Raises:
        UserError: there is nothing to show.
        FileNotFoundError: the folder of ``path`` does not exist.
    """
    page = page_of(found)
    with atomic_write(path) as file:
        file.write(page)
    return len(page.encode("utf-8"))


def _title(found: Sources) -> str:
    name = _name(found.folder)
    return name if found.second is None else f"{name} beside {_name(found.second.folder)}"


def _name(folder: Path) -> str:
    """The last two folders, which is how runs are called."""
    return "/".join(folder.resolve().parts[-2:])


def _about(found: Sources) -> str:
    """What kinds of results the page is made from."""
    kinds = {
        "training": found.runs,
        "evaluation": found.evaluations,
        "signatures": found.probes,
        "pruning": found.prunings,
        "compression": found.compressions,
        "ablation": found.ablations,
        "diagnosis": found.diagnoses,
        "study": found.studies,
    }
    return "From result files of " + ", ".join(kind for kind, records in kinds.items() if records) + "."


def _text(name: str) -> str:
    return files("lightning_robust.report.html").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
