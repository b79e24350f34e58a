"""The grammar of Pipefiles, and the reference of their language."""
