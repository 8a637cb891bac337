"""Where the files of a run lie: one small interface over a folder, a bucket or a server."""

from deeptracker.data_model.storage.interface import Content, Stamp, Storage, require_folder, whole
from deeptracker.data_model.storage.local import LocalStorage
from deeptracker.data_model.storage.names import ROOT
from deeptracker.data_model.storage.opening import Place, open_storage
from deeptracker.data_model.storage.stragglers import wait_for_stragglers
from deeptracker.data_model.storage.wrapper import StorageWrapper

__all__ = [
    "ROOT",
    "Content",
    "LocalStorage",
    "Place",
    "Stamp",
    "Storage",
    "StorageWrapper",
    "open_storage",
    "require_folder",
    "wait_for_stragglers",
    "whole",
]
