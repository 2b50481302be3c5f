#!/usr/bin/env bash
# The tests that ask the database, once more on the system's PostgreSQL (15 to 18) where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
if [ -z "$bin" ]; then
  echo "system PostgreSQL: none here, its run is left out"
  exit 0
fi
echo "system PostgreSQL: $("$bin/postgres" --version)"
PORTAL_TEST_POSTGRES=system exec .venv/bin/pytest -q -n "${TEST_PROCESSES:-4}" --dist loadfile --no-loadscope-reorder \
  -p no:cacheprovider -m "not slow and not browser and not prometheus and not kannel" \
  tests/campaigns tests/metrics tests/service/intake/test_intake.py tests/service/intake/test_writer.py tests/scenarios/test_reversals.py
