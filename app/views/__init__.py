"""The views of a run, one file each; `deeptracker.app.views.base` finds them by looking into this folder."""
