"""One file a verb; its function `verb` is the command, its docstring the help."""
