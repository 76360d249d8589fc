"""How fast the service is beside the least code that does the same work and promises nothing.

Read in this order: `workload` and `folding` (what is read), `sink` (what is posted to), `baselines` (the loops),
`ledger` (what the sink saw), `run` (`make bench`). Benches of their own: `stores` measures the state stores without a
broker, and `http_clients` chose the client of the hot POST.
"""
