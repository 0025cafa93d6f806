"""`headrace restore`: a backup in place of a store that is not there."""

from __future__ import annotations

from headrace.cli.backup import Progress, in_words, summary
from headrace.cli.here import settings_of
from headrace.cli.output import notice, show_json, show_line
from headrace.cli.parser import PLAIN, Common, Folder, make_app
from headrace.cli.words import local

app = make_app("restore", "Put a backup in place where there is no store.")


@app.default
def restore(folder: Folder, /, *, common: Common = PLAIN) -> None:
    """Put a backup in place where there is no store. All of it is verified first.

    The first `headrace dev` afterwards has to be told whether the project that was backed up is gone (--moved) or goes
    on (--copied), on this machine as on another.

    Parameters
    ----------
    folder
        What `headrace backup` has made.
    """
    from headrace.keeping.backup import restore as put_back

    settings = settings_of(common)
    manifest = put_back(settings, folder.resolve(), Progress().tell)
    if common.json:
        show_json(summary(manifest, folder))
    else:
        show_line(f"restored {in_words(manifest)}, as of {local(manifest.made_us)}, to {settings.home}", "ok")
        notice("next:  headrace dev --moved where the old one is gone, headrace dev --copied where both go on")
