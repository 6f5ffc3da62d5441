"""The graph of imports: no module imports, over others, itself; imports for types count."""

import grimp


def cycles(graph):
    """The strongly connected parts of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph.find_modules_directly_imported_by(module):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            part = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            found.extend([part] if len(part) > 1 else [])

    for module in sorted(graph.modules):
        if module not in index:
            visit(module)
    return found


def test_no_modules_import_each_other():
    assert cycles(grimp.build_graph("tunesmith")) == []


def test_a_cycle_would_be_found():
    graph = grimp.ImportGraph()
    for one, other in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")):
        graph.add_import(importer=one, imported=other)
    assert [sorted(part) for part in cycles(graph)] == [["a", "b", "c"]]
