"""Adds the generated pages to the site; mkdocs calls it (`hooks:` in mkdocs.yml)."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.generate.commands import commands_page  # noqa: E402
from docs.generate.messages import messages_page  # noqa: E402
from docs.generate.settings import recipes_page, settings_page  # noqa: E402

PAGES = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/recipes.md": recipes_page,
    "troubleshooting/messages.md": messages_page,
}
"""By the page's place in the site, what makes it."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page to those that lie in docs/."""
    for place, make in PAGES.items():
        files.append(File.generated(config, place, content=make()))
    return files
