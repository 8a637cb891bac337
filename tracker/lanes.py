"""All sums over a stretch of weights, gradients and previous weights, in one pass on the CPU's vector units.

numba's own loops leave what does not fill several vectors to scalar code, and that is most of a small filter. So
this loop is written in vectors of `LANES` values: full ones first, then one that overlaps the end, in which the
values that were already summed do not count. Nothing is read outside of the stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16 if get_host_cpu_features().get("avx512f") else 8
"""Values in a vector: those of a 512-bit register where there are some, else of 256 bits; the compiler splits what is
longer than registers are, and with 16 values the sums would outnumber those of 256 bits."""

# What is summed of weights (from SUM_WEIGHT on) and of gradients (from SUM_GRADIENT on).
TOTAL, SUM_SQUARES, ABSOLUTE, NONZEROS, LOWEST, HIGHEST = range(6)
SUM_WEIGHT, SUM_GRADIENT = 0, 6
# What is summed of the change; the counts above 1, 0.1 ... 1e-6 follow COUNT_ABOVE.
CHANGE_ABSOLUTE, CHANGE_SUM_SQUARES, BEFORE_ABSOLUTE, BEFORE_SUM_SQUARES, COUNT_ABOVE = range(12, 17)
EXPONENTS = 7
SUMS = COUNT_ABOVE + EXPONENTS

_FLOAT, _INT, _DOUBLE = ir.FloatType(), ir.IntType(32), ir.DoubleType()
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_FREE = ("reassoc", "contract", "nsz", "arcp")
"""Sums may be reordered and fused; NaN and Inf keep their meaning."""


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)


class _Sums:
    """Vectors that accumulate in the loop, and the operation that joins two partial results."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder
        starts = [_constant(_FLOAT, 0.0)] * SUMS
        for first in (SUM_WEIGHT, SUM_GRADIENT):
            starts[first + NONZEROS] = ir.Constant(_INT, 0)
            starts[first + LOWEST] = _constant(_FLOAT, float("inf"))
            starts[first + HIGHEST] = _constant(_FLOAT, float("-inf"))
        starts[COUNT_ABOVE:] = [ir.Constant(_INT, 0)] * EXPONENTS
        self.vectors = [cgutils.alloca_once_value(builder, start) for start in starts]

    def join(self, number: int, one: ir.Value, other: ir.Value) -> ir.Value:
        """Return two partial results (vectors or single values) as one."""
        build = self.builder
        kind = number % SUM_GRADIENT if number < CHANGE_ABSOLUTE else number
        if kind == NONZEROS or number >= COUNT_ABOVE:
            return build.add(one, other)
        if number < CHANGE_ABSOLUTE and kind in (LOWEST, HIGHEST):
            return build.select(build.fcmp_ordered("<" if kind == LOWEST else ">", other, one), other, one)
        return build.fadd(one, other, flags=_FREE)

    def add(self, number: int, vector: ir.Value) -> None:
        """Add a vector to what was accumulated."""
        place = self.vectors[number]
        self.builder.store(self.join(number, self.builder.load(place), vector), place)

    def count(self, number: int, condition: ir.Value) -> None:
        """Count the lanes in which a condition holds."""
        build, place = self.builder, self.vectors[number]
        bits = build.bitcast(condition, ir.IntType(LANES))
        kind = ir.FunctionType(bits.type, [bits.type])
        ones = cgutils.get_or_insert_function(build.module, kind, f"llvm.ctpop.i{LANES}")
        build.store(build.add(build.load(place), build.zext(build.call(ones, [bits]), _INT)), place)

    def write(self, out: ir.Value) -> None:
        """Join the lanes of every vector by halves, and store the results as float64."""
        build = self.builder
        for number, place in enumerate(self.vectors):
            vector, width = build.load(place), LANES
            if vector.type == _INT:
                value = build.sitofp(vector, _DOUBLE)
                build.store(value, build.gep(out, [ir.Constant(ir.IntType(64), number)]))
                continue
            while width > 2:
                width //= 2
                halves = [
                    build.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INT, width), [*lanes]))
                    for lanes in (range(width), range(width, 2 * width))
                ]
                vector = self.join(number, *halves)
            value = self.join(number, *(build.extract_element(vector, ir.Constant(_INT, lane)) for lane in (0, 1)))
            value = build.sitofp(value, _DOUBLE) if value.type == _INT else build.fpext(value, _DOUBLE)
            build.store(value, build.gep(out, [ir.Constant(ir.IntType(64), number)]))


def _accumulate(sums: _Sums, tensors: Sequence[ir.Value], counts: ir.Value | None = None) -> None:
    """Add a vector of weights, gradients and previous weights; `counts` (None: all) tells the lanes that count.

    Lanes that do not count hold values of the same stretch, so that they change neither smallest nor largest.
    """
    build = sums.builder
    weight, gradient, before = tensors
    kind = ir.FunctionType(_FLOATS, [_FLOATS])
    size = cgutils.get_or_insert_function(build.module, kind, f"llvm.fabs.v{LANES}f32")

    def counted(values: ir.Value) -> ir.Value:
        return values if counts is None else build.select(counts, values, _constant(_FLOAT, 0.0))

    def squared(values: ir.Value) -> ir.Value:
        return build.fmul(values, values, flags=_FREE)

    for first, values in ((SUM_WEIGHT, weight), (SUM_GRADIENT, gradient)):
        sums.add(first + LOWEST, values)
        sums.add(first + HIGHEST, values)
        inside = counted(values)
        sums.add(first + TOTAL, inside)
        sums.add(first + SUM_SQUARES, squared(inside))
        sums.add(first + ABSOLUTE, build.call(size, [inside]))
        sums.count(first + NONZEROS, build.fcmp_unordered("!=", inside, _constant(_FLOAT, 0.0)))
    old = counted(before)
    change = build.call(size, [build.fsub(counted(weight), old)])
    old = build.call(size, [old])
    sums.add(CHANGE_ABSOLUTE, change)
    sums.add(CHANGE_SUM_SQUARES, squared(change))
    sums.add(BEFORE_ABSOLUTE, old)
    sums.add(BEFORE_SUM_SQUARES, squared(old))
    for exponent in range(EXPONENTS):
        bound = build.fmul(old, _constant(_FLOAT, 10.0**-exponent)) if exponent else old
        sums.count(COUNT_ABOVE + exponent, build.fcmp_ordered(">", change, bound))


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    *tensors, start, count, out = arguments
    pointers = [builder.gep(tensor, [start]) for tensor in tensors]
    sums, whole = _Sums(builder), count.type
    rest = builder.and_(count, ir.Constant(whole, LANES - 1))
    full = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, ir.Constant(whole, 0), full, ir.Constant(whole, LANES), whole) as (index, _):
        _accumulate(sums, [_vector_at(builder, pointer, index) for pointer in pointers])
    with builder.if_then(builder.icmp_unsigned("!=", rest, ir.Constant(whole, 0))):
        _accumulate_rest(sums, pointers, count, builder.trunc(rest, _INT))
    sums.write(out)
    return context.get_dummy_value()


def _accumulate_rest(sums: _Sums, pointers: list[ir.Value], count: ir.Value, rest: ir.Value) -> None:
    """Add the last values of a stretch, fewer than a vector holds."""
    builder, whole = sums.builder, count.type
    lanes = ir.Constant(whole, LANES)
    short = builder.icmp_unsigned("<", count, lanes)
    places = [cgutils.alloca_once(builder, _FLOATS) for _ in pointers]
    with builder.if_else(short) as (then, otherwise):
        with then:
            # The stretch is shorter than a vector: fill it up with the first value.
            for place, pointer in zip(places, pointers, strict=True):
                start = builder.bitcast(place, _FLOAT.as_pointer())
                for lane in range(LANES):
                    here = ir.Constant(whole, lane)
                    index = builder.select(builder.icmp_unsigned("<", here, count), here, ir.Constant(whole, 0))
                    builder.store(builder.load(builder.gep(pointer, [index])), builder.gep(start, [here]))
        with otherwise:
            for place, pointer in zip(places, pointers, strict=True):
                builder.store(_vector_at(builder, pointer, builder.sub(count, lanes)), place)
    first = builder.select(short, ir.Constant(_INT, 0), builder.sub(ir.Constant(_INT, LANES), rest))
    last = builder.select(short, rest, ir.Constant(_INT, LANES))
    numbers = ir.Constant(_INTS, [*range(LANES)])
    counts = builder.and_(
        builder.icmp_signed(">=", numbers, _splat(builder, first)),
        builder.icmp_signed("<", numbers, _splat(builder, last)),
    )
    _accumulate(sums, [builder.load(place) for place in places], counts)


def _vector_at(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return builder.load(builder.bitcast(builder.gep(pointer, [index]), _FLOATS.as_pointer()), align=4)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, one, _constant(_INT, 0))


def _sum_stretch(_context: Any, weight: Any, gradient: Any, before: Any, start: Any, count: Any, sums: Any) -> Any:
    return types.void(weight, gradient, before, types.intp, types.intp, sums), _generate


sum_stretch: Callable[..., None] = intrinsic(_sum_stretch)
"""Write all sums (`SUMS` float64) of `count` values from `start` on: of weights, gradients and previous weights.

Called as `sum_stretch(weight, gradient, before, start, count, sums)` with pointers to float32, and to float64.
"""
