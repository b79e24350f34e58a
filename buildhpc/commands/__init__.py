"""The commands of hpcmake, a module each."""
