"""Which templates are compiled for whom."""

from service.web.compiled import OF_THE_DESK, load_templates


def test_the_public_pages_wait_for_no_template_of_the_desk() -> None:
    public, all_of_them = (set(load_templates(for_desk=each).by_name) for each in (False, True))
    assert {"list.html", "campaign.html", "absent.html", "card.html"} <= public
    assert public == {name for name in all_of_them if not name.startswith(OF_THE_DESK)} < all_of_them
