"""The folder that a crawl of Spotify fills: it holds files of the crawl's own beside the tracks."""

from __future__ import annotations

ANALYSES_FOLDER = "analyses"
VERSION_FILE = "store.json"


def enter(folders: list[str], names: list[str]) -> list[str]:
    """The names of a folder's files that may hold tracks; of a store's folders only that of the tracks is entered.

    Args:
        folders: the folders in it, as a walk from the top down gives them; changed in place.
        names: the files in it.
    """
    if VERSION_FILE in names and ANALYSES_FOLDER in folders:
        folders[:] = [ANALYSES_FOLDER]
        return []
    return names
