"""Load on a real server whose networks fail on purpose; every image is compared with the one its request gives alone.

`plans` says what is asked for, `clients` asks and judges, `soak` watches the server too, `faulty_app` is the server. Tests use it
for seconds, `benchmarks/soak.py` and `benchmarks/torture.py` for as long as they are told.
"""
