"""Where agents are tried out in seconds: on functions fitted to recorded evaluations, and on the toy."""
