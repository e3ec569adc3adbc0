// What a cell imports: the engine, and the run it belongs to.
@_exported public import Engine
