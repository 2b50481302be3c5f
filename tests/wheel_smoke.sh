#!/usr/bin/env bash
# The wheel, installed alone: every package is in it, and the command reads a text by an apply file.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m hatchling build --target wheel --directory "$folder/dist" >/dev/null
PYTHONPATH=.bootstrap "$python" -m uv venv --quiet --python "$python" "$folder/env"
PYTHONPATH=.bootstrap "$python" -m uv pip install --quiet --python "$folder/env/bin/python" --require-hashes -r requirements.lock
PYTHONPATH=.bootstrap "$python" -m uv pip install --quiet --python "$folder/env/bin/python" --no-deps "$folder"/dist/*.whl
book=$PWD/tests/campaigns/book/book.toml
cd "$folder"
answer=$(env -u PYTHONPATH "$folder/env/bin/portal1400" read --book "$book" --at 2019-10-17T20:05:00+07:00 1408 "VNN 5")
case $answer in
  *'"amount_vnd": 100000'*) ;;
  *) echo "wheel smoke test: the installed command answered: $answer" >&2; exit 1 ;;
esac
env -u PYTHONPATH "$folder/env/bin/python" - <<'PYTHON'
from importlib import resources
wanted = {
    "campaigns": ["schema/migrations/0001_first_tables.sql"],
    "service": ["commands/demo.toml", "web/vendor/rapidoc-min.js", "web/static/page.css", "web/templates"],
}
for package, paths in wanted.items():
    for path in paths:
        found = resources.files(package).joinpath(path)
        assert found.is_file() or found.is_dir(), f"{package}/{path} is not in the wheel"
import gateways, metrics
assert "site-packages" in gateways.__file__ and "site-packages" in metrics.__file__
PYTHON
echo "wheel smoke test: passed"
