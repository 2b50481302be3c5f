"""Write every dashboard as JSON into this folder."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import Board, built

FOLDER = Path(__file__).parent


def encoded(board: Board) -> str:
    """The dashboard's file."""
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(built(board)) + "\n"


def main() -> None:
    """Write the files of BOARDS."""
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(encoded(board), encoding="utf-8")


if __name__ == "__main__":
    main()
