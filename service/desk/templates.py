"""Prepared forms by which an appeal is opened in minutes: of a kind of emergency, or as a former campaign was."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from campaigns.book.book import VIETNAM, Campaign, Grammar

TEMPLATE_DAYS = 60
"""How long an appeal is open when nothing else is decided: what the programme has usually ordered."""
EMERGENCIES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "storm_flood": (
            "bao-lu", "Ủng hộ đồng bào bị thiệt hại do bão, lũ", "For the people struck by storm and flood",
        ),
        "fire": ("hoa-hoan", "Ủng hộ nạn nhân hỏa hoạn", "For the victims of the fire"),
        "epidemic": ("phong-dich", "Chung tay phòng, chống dịch bệnh", "Together against the epidemic"),
        "drought_salinity": (
            "han-man", "Ủng hộ đồng bào bị hạn hán, xâm nhập mặn", "For the people in drought and salt intrusion",
        ),
        "incident": ("su-co", "Ủng hộ nạn nhân sự cố nghiêm trọng", "For the victims of the incident"),
    }
)  # fmt: skip
"""By category: the beginning of the slug, the name in Vietnamese and in English."""


def emergency_form(category: str, now: datetime) -> dict[str, str]:
    """The form of an emergency, of EMERGENCIES; who opens it adds code, keyword and decision."""
    slug, name_vi, name_en = EMERGENCIES[category]
    return _window(now) | {
        "slug": _dated(slug, now), "name_vi": name_vi, "name_en": name_en, "category": category,
        "grammar": Grammar.UNITS.value, "unit_vnd": "20.000", "max_units": "100",
    }  # fmt: skip


def form_like(campaign: Campaign, now: datetime) -> dict[str, str]:
    """The form of a new campaign as `campaign` was, from now on, without its decision: that is another one."""
    form = _window(now) | {
        "slug": _dated(re.sub(r"(-[0-9]+)+$", "", campaign.slug), now), "name_vi": campaign.name_vi,
        "name_en": campaign.name_en or "", "category": campaign.category, "organiser": campaign.organiser,
        "goal_vnd": str(campaign.goal_vnd or ""),
    }  # fmt: skip
    if campaign.routes:
        route = campaign.routes[-1]
        form |= {
            "short_code": route.short_code, "keywords": ", ".join(route.keywords), "grammar": route.grammar.value,
            "unit_vnd": str(route.unit_vnd),
            "max_units": "" if route.grammar is Grammar.FIXED else str(route.max_units),
        }  # fmt: skip
    return form


def _window(now: datetime) -> dict[str, str]:
    opens_at = now.astimezone(VIETNAM).replace(second=0, microsecond=0)
    midnight = opens_at.replace(hour=0, minute=0) + timedelta(days=TEMPLATE_DAYS + 1)
    return {"opens_at": f"{opens_at:%Y-%m-%dT%H:%M}", "closes_at": f"{midnight:%Y-%m-%dT%H:%M}"}


def _dated(slug: str, now: datetime) -> str:
    return f"{slug}-{now.astimezone(VIETNAM):%Y-%m-%d}"
