"""Load on a real server whose networks fail on purpose; every image is compared with the one its request gives alone.

`plans` says what is asked for, `clients` asks and judges, `soak` watches the server too, `faulty_app` is the server; `siege` has
polite clients among `hostile` ones. Tests use it for seconds, `benchmarks/eviction_soak.py`, `benchmarks/soak.py` and
`benchmarks/torture.py` for as long as they are told.
"""
