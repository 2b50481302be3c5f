"""The addresses of the pages: which one is meant by a mistyped one, and what search engines are told."""

import re
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from yarl import URL

from campaigns.book.book import Book
from service.web.words import Language

DISALLOWED = "User-agent: *\nDisallow: /api/\nDisallow: /gw/\n"
_HTML = re.compile(r"\s*(text/html|application/xhtml\+xml)\s*(;.*)?", re.IGNORECASE)
_NOT_AT_ALL = re.compile(r";\s*q\s*=\s*0(\.0{0,3})?\s*(;|$)", re.IGNORECASE)


class Address(NamedTuple):
    """A page's path, and its language where the address that was tried names one."""

    path: str
    language: Language | None


def campaign_address(slug: str) -> str:
    """The path of a campaign's page."""
    return str(URL.build(path=f"/c/{slug}"))


def suffix_of(language: Language) -> str:
    """What a page's path ends with in `language`: nothing in Vietnamese."""
    return "" if language is Language.VI else f"?lang={language}"


def meant_address(path: str, book: Book) -> Address | None:
    """The page that `path` must mean: slashes too many, capitals, a language as a folder. None: no page."""
    parts = [part.lower() for part in path.split("/") if part]
    language = None
    if parts and parts[0] in tuple(Language):
        language = Language(parts.pop(0))
    match parts:
        case [] | ["c"]:
            return Address("/", language)
        case ["c", slug] if slug in book.by_slug or slug in book.withdrawn:
            return Address(campaign_address(slug), language)
    return None


def prefers_html(accept: str) -> bool:
    """Whether a reader names HTML among what it takes: browsers do, programs that take anything do not."""
    return any(_HTML.fullmatch(each) and not _NOT_AT_ALL.search(each) for each in accept.split(","))


def robots(origin: str) -> str:
    """robots.txt; with the sitemap where the outside reaches us at `origin`."""
    return DISALLOWED + (f"Sitemap: {origin}/sitemap.xml\n" if origin else "")


def sitemap(origin: str, book: Book) -> str:
    """sitemap.xml: the front page and every campaign in each language, each with its other language."""
    paths = ["/", *(campaign_address(campaign.slug) for campaign in book.campaigns)]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
        'xmlns:xhtml="http://www.w3.org/1999/xhtml">\n'
        + "".join(_entry(origin + path, language) for path in paths for language in Language)
        + "</urlset>\n"
    )


def _entry(address: str, language: Language) -> str:
    others = "".join(
        f'<xhtml:link rel="alternate" hreflang="{each}" href={quoteattr(address + suffix_of(each))}/>'
        for each in Language
    )
    return f"<url><loc>{escape(address + suffix_of(language))}</loc>{others}</url>\n"
