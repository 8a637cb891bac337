"""Reading and writing sharded zarr arrays directly: only the bytes that are needed, straight to where they belong."""

from deeptracker.data_model.shards.arrays import ReadableArray, ZarrArray
from deeptracker.data_model.shards.cache import CHUNKS, ChunkCache
from deeptracker.data_model.shards.encode import Read, Region, ShardEncoder
from deeptracker.data_model.shards.layout import ShardLayout
from deeptracker.data_model.shards.reader import Piece, ShardReader

__all__ = [
    "CHUNKS",
    "ChunkCache",
    "Piece",
    "Read",
    "ReadableArray",
    "Region",
    "ShardEncoder",
    "ShardLayout",
    "ShardReader",
    "ZarrArray",
]
