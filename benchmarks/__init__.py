"""How fast the library is, compared with msgspec alone and with the clients people use now.

    python -m benchmarks                  everything: tables, JSON, the README's chart
    python -m benchmarks FOLDER           the streams (`*.sse`) of a folder as one more workload
    python -m benchmarks --guard          the short form: exit status 1 after a slow-down
    python -m benchmarks --live           what a live event costs the clients and the gateway

No absolute time is judged anywhere: machines differ and are noisy. Every figure is compared with the
floor (`benchmarks.floor`), which is measured in the same rounds of the same process.
"""
