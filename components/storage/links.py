"""One file in two places."""

from __future__ import annotations

import errno
import os

from components.storage.files import fileio
from components.storage.places import is_remote

_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""How a file system refuses a second name: it is another one, has none, has no more, or forbids it."""


def link(source: str, target: str) -> None:
    """Gives a file a second name, so that it takes no more space; copies it where there is none.

    Who writes into the file under one name changes it under both. A removed name leaves the other.

    Args:
        source: the file.
        target: the second name, which is not there yet.

    Raises:
        OSError, tf.errors.OpError: neither can be done.
    """
    if not (is_remote(source) or is_remote(target)):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
    fileio.copy(source, target)
