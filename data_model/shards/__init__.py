"""Reading sharded zarr arrays directly: only the bytes that are needed, straight to where they belong."""

from deeptracker.data_model.shards.arrays import ReadableArray, ZarrArray
from deeptracker.data_model.shards.cache import CHUNKS, ChunkCache
from deeptracker.data_model.shards.layout import ShardLayout
from deeptracker.data_model.shards.reader import Piece, ShardReader

__all__ = ["CHUNKS", "ChunkCache", "Piece", "ReadableArray", "ShardLayout", "ShardReader", "ZarrArray"]
