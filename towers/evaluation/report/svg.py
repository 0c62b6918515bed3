"""Charts as inline SVG for a page: with the page's fonts and text colour, unique ids and tooltips."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from towers.evaluation.report.drawing import INK, Picture, styled

_LINK = "{http://www.w3.org/1999/xlink}href"


def picture_svg(picture: Picture) -> Markup:
    """Returns the picture's chart for a template, with a text alternative."""
    label = f"{picture.title}. {picture.caption}"
    return Markup(inline_svg(picture.figure, name=picture.name, label=label, tooltips=picture.tooltips))


def inline_svg(figure: Figure, *, name: str, label: str, tooltips: Mapping[str, Sequence[str]] | None = None) -> str:
    """Returns the `<svg>` element; the same chart gives the same text.

    Args:
        figure: chart.
        name: unique name in the page, with which ids begin.
        label: text alternative of the chart, for screen readers.
        tooltips: texts by the id of a group of markers, one for each marker in drawing order.

    Raises:
        ValueError: a group's numbers of markers and texts differ.
    """
    root = ElementTree.fromstring(_drawn(figure))
    # The style sheet would apply to the whole page, which has the same rule; the metadata describes matplotlib.
    for parent in list(root.iter()):
        for child in [child for child in parent if _tag(child) in ("style", "metadata")]:
            parent.remove(child)
    for group, texts in (tooltips or {}).items():
        _add_tooltips(root, group, texts)
    _name_ids(root, name)
    for element in root.iter():
        element.tag = _tag(element)
        _plain_attributes(element)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": label,
        "class": "chart",
        # Scales with the page, but not so far that its text is larger than the page's.
        "style": f"max-width: {1.2 * float(width):.0f}px",
    }
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text).replace(INK, "currentColor")


def _drawn(figure: Figure) -> str:
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _add_tooltips(root: ElementTree.Element, group: str, texts: Sequence[str]) -> None:
    holder = root.find(f".//*[@id='{group}']")
    markers = [] if holder is None else [element for element in holder.iter() if _tag(element) == "use"]
    if len(markers) != len(texts):
        raise ValueError(f"{len(markers)} markers of group {group!r} have {len(texts)} texts")
    for marker, text in zip(markers, texts, strict=True):
        ElementTree.SubElement(marker, "title").text = _printable(text)
        marker.attrib |= {axis: f"{float(marker.attrib[axis]):.1f}" for axis in ("x", "y")}
    # All markers of a group have the same style, which is therefore set once.
    if holder is not None and markers:
        holder.set("style", markers[0].attrib["style"])
        for marker in markers:
            del marker.attrib["style"]


def _name_ids(root: ElementTree.Element, name: str) -> None:
    """Prefixes ids that are referenced with the name, and removes the others."""
    used = {target for element in root.iter() for target in _targets(element)}
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", f"{name}-{identity}")
        for attribute, value in element.attrib.items():
            if attribute == _LINK:
                element.set(attribute, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(attribute, value.replace("url(#", f"url(#{name}-"))


def _targets(element: ElementTree.Element) -> Iterator[str]:
    if _LINK in element.attrib:
        yield element.attrib[_LINK][1:]
    for value in element.attrib.values():
        yield from re.findall(r"url\(#([^)]+)\)", value)


def _plain_attributes(element: ElementTree.Element) -> None:
    if _LINK in element.attrib:
        element.set("href", element.attrib.pop(_LINK))


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _printable(text: str) -> str:
    """Replaces control characters, which XML forbids, by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
