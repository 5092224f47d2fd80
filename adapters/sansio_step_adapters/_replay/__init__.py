"""The parts of the replay server, none of which waits or opens a socket, but for `http`.

What is served is in `captures`: a body with its times, out of a file, a message or an echo. `rules` say which request
gets what, `timeline` which of its bytes go out when and how it ends. `requests` reads a request, `answers` makes a
response, `calls` keeps what came. `http` is a connection.
"""
