"""sseclient-py doesn't see a blank line that ends in CR LF after a line that ends in LF: two events become one.

It looks for one of three byte sequences, where the standard ends each line in CR, LF or CR LF.
"""

from __future__ import annotations

from .readers import show, sseclient_py

if __name__ == "__main__":
    body = b"event: a\ndata: 1\n\r\nevent: b\ndata: 2\n\r\n"
    show("sseclient-py", [body], sseclient_py([body]), right=[("a", "1"), ("b", "2")], wrong=[("b", "1\n2")])
