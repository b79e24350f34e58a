"""What hpcmake knows of the jobs of a working folder, kept in `.hpcmake/` under a lock."""
