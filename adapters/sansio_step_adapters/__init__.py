"""What connects `sansio_step` to the world. Import the module that you need:

    sansio_step_adapters.anyio      AsyncClient, for asyncio and trio
    sansio_step_adapters.sockets    Client, on blocking sockets
    sansio_step_adapters.http1      one HTTP/1.1 response without I/O, which both clients drive
    sansio_step_adapters.record     keeps what came, and when
    sansio_step_adapters.replay     a server that plays back captures; `pytest_plugin` has it as a fixture
    sansio_step_adapters.asgi       a pass-through proxy for gateways
    sansio_step_adapters.archive    archives of captured streams to tables

`sockets` and `http1` need h11, `record` nothing; `anyio`, `replay` and `asgi` need anyio as well: the extra `anyio` has
both. `archive` has an extra of its own. The program is in `sansio_step_adapters.cli`. Everything that decides is in
modules without I/O (`_transfer` and what it rests on, `_call` and `_forward` on it); the drivers wait, read, write and
close.
"""
