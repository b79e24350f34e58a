"""From elements to what is submitted: arrays, in chunks, and the edges between them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

from buildhpc.plan.elements import Element

# More dependencies on single elements than this are one on their whole array.
_SINGLE_EDGES = 20


class Place(NamedTuple):
    """Where a job is in flight.

    submission: a number of the caller's own; not that of an `Array` made here.
    element: counted from 0. elements: of the array; 0: a plain job.
    """

    submission: int
    element: int
    elements: int


class Link(NamedTuple):
    """What an array waits for.

    array: the place in the list of one made here, or None; then `submission` is in flight.
    element: of it, where only that one is waited for. kind: as `schedulers.protocol.Edge`.
    """

    array: int | None
    submission: int | None
    element: int | None
    kind: Literal["ok", "any", "element"]


class Array(NamedTuple):
    """One scheduler job or array. links: empty for a root, which is submitted held."""

    key: Hashable
    elements: tuple[Element, ...]
    links: tuple[Link, ...]


class Shape(NamedTuple):
    """What a scheduler can do; as in `schedulers.protocol.Abilities`."""

    max_array: int
    ok_edges: bool
    element_edges: bool
    one_element: bool


def arrange(elements: Sequence[Element], flights: Mapping[int, Place], shape: Shape) -> list[Array]:
    """The arrays of elements, each after all those it waits for.

    elements: each after all those it needs. flights: jobs that are in flight already; a job
    that is waited for and is in neither is kept by hpcmake itself: it must not be among
    `after`. Edges are exact where the scheduler and the shapes allow, and then `ok` or
    `element`; else they wait for more than is needed, and are `any`: the job itself looks
    whether what it needs is done.
    """
    chunks = _chunks(elements, flights, shape.max_array)
    where = {
        number: Place(place, at, len(chunk) if len(chunk) > 1 else 0)
        for place, chunk in enumerate(chunks)
        for at, element in enumerate(chunk)
        for number in element.jobs
    }
    own = set(where)
    arrays = []
    for chunk in chunks:
        needed: dict[tuple[bool, int], dict[int, set[int]]] = {}
        sizes: dict[tuple[bool, int], int] = {}
        for at, element in enumerate(chunk):
            for number in element.after:
                found = where.get(number) or flights[number]
                target = (number in own, found.submission)
                sizes[target] = found.elements
                needed.setdefault(target, {}).setdefault(at, set()).add(found.element)
        links: list[Link] = []
        for target, pairs in needed.items():
            links += _links(target, sizes[target], pairs, len(chunk), shape)
        arrays.append(Array(chunk[0].key, tuple(chunk), tuple(links)))
    return arrays


def _links(
    target: tuple[bool, int], size: int, pairs: Mapping[int, set[int]], length: int, shape: Shape
) -> list[Link]:
    """The edges of a chunk of `length` elements to one array of `size` (0: a plain job).

    pairs: element of the chunk -> the elements of the array that it needs.
    """
    here, number = target
    array, submission = (number, None) if here else (None, number)
    exact: Literal["ok", "any"] = "ok" if shape.ok_edges else "any"
    if (
        shape.element_edges
        and length == size > 1
        and len(pairs) == length
        and all(needs == {at} for at, needs in pairs.items())
    ):
        return [Link(array, submission, None, "element")]
    if len(pairs) == length and all(len(needs) == max(1, size) for needs in pairs.values()):
        return [Link(array, submission, None, exact)]
    if length == 1 and shape.one_element and len(pairs[0]) <= _SINGLE_EDGES:
        return [Link(array, submission, element, exact) for element in sorted(pairs[0])]
    return [Link(array, submission, None, "any")]


def _chunks(
    elements: Sequence[Element], flights: Mapping[int, Place], most: int
) -> list[list[Element]]:
    """Elements with equal keys and equally many stages before them, in parts of at most `most`.

    Those of one stage do not need each other, and the stage rises along every edge: so arrays
    never wait for each other in a circle.
    """
    stage: dict[int, int] = {}
    rank = {number: place.element for number, place in flights.items()}
    groups: dict[tuple[int, Hashable], list[Element]] = {}
    for element in elements:
        level = 1 + max((stage.get(number, 0) for number in element.after), default=0)
        stage.update(dict.fromkeys(element.jobs, level))
        groups.setdefault((level, element.key), []).append(element)
    chunks = []
    for (_, _key), group in sorted(groups.items(), key=lambda item: item[0][0]):
        # In the order of what they wait for, so that element k follows element k.
        group.sort(key=lambda element: min((rank.get(n, -1) for n in element.after), default=-1))
        for at, element in enumerate(group):
            rank.update(dict.fromkeys(element.jobs, at))
        chunks += [group[start : start + most] for start in range(0, len(group), most)]
    return chunks
