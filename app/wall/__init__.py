"""The wall: the one plot that draws every kind of small multiple, rows x iterations, at any zoom."""
