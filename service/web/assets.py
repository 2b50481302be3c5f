"""Static files: an explicit list, read once at start, addressed by the hash of them all."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

CONTENT_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "desk.css": "text/css; charset=utf-8",
    "design.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "lost.js": "text/javascript; charset=utf-8",
    "dates.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "passkeys.js": "text/javascript; charset=utf-8",
    "once.js": "text/javascript; charset=utf-8",
    "countdown.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml; charset=utf-8",
    "favicon.ico": "image/vnd.microsoft.icon",
    "touch-icon.png": "image/png",
    "share.png": "image/png",
}
"""Every file that is served; what is not named here does not exist."""
VENDORED = {
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
}
"""Those of others, as they were published."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    content_type: str
    etag: str


class Assets:
    """The static files of this build.

    One hash stands in every address, so that a module's relative import stays within the same edition and
    everything may be cached for ever.
    """

    def __init__(self) -> None:
        folder = files("service.web")
        bodies = {name: (folder / "static" / name).read_bytes() for name in CONTENT_TYPES}
        bodies |= {name: (folder / "vendor" / name).read_bytes() for name in VENDORED}
        whole = hashlib.sha256()
        for name in sorted(bodies):
            whole.update(b"%b %d\n" % (name.encode(), len(bodies[name])))
            whole.update(bodies[name])
        self.edition = whole.hexdigest()[:12]
        types = CONTENT_TYPES | VENDORED
        self.by_name = {
            name: Asset(body, types[name], hashlib.sha256(body).hexdigest()[:16]) for name, body in bodies.items()
        }

    def address(self, name: str) -> str:
        """Where pages find it. Raises KeyError for a file that is not on the list."""
        if name not in self.by_name:
            raise KeyError(name)
        return f"/static/{self.edition}/{name}"
