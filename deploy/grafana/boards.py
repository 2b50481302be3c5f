"""The dashboards of portal1400, as tables. `make generate` writes them as JSON beside this file."""

from deploy.grafana.database import DATABASE
from deploy.grafana.intake import INTAKE
from deploy.grafana.live import LIVE
from deploy.grafana.money import MONEY
from deploy.grafana.slo import SLO
from deploy.grafana.tonight import TONIGHT

BOARDS = (TONIGHT, INTAKE, LIVE, DATABASE, MONEY, SLO)
