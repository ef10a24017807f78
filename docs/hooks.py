"""Files of the repository outside docs are links where the repository is read, and names on the site."""

import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+|tour\.ipynb)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return LINK.sub(lambda link: f"{link[1]} (`{link[2].removeprefix('../')}`)", markdown)
