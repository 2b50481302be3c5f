"""How the replay shares the database with carriers that post."""

import pytest

from service.intake.replay import rest_seconds


@pytest.mark.parametrize(
    ("worked", "rests"),
    [(0.0, 0.0), (0.01, 0.03), (0.5, 1.5), (12.0, 1.5)],
    ids=["nothing", "a quick batch", "as long as a statement may take", "a database that stood still"],
)
def test_it_rests_longer_than_it_worked_but_not_for_a_database_that_stood_still(worked: float, rests: float) -> None:
    assert rest_seconds(worked) == pytest.approx(rests)
