"""One file for each verb. Its function `verb` is the command, and the docstring is the help."""
