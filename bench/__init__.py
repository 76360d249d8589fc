"""How fast the service is beside the least code that does the same work and promises nothing.

Read in this order: `workload` and `folding` (what is read), `sink` (what is posted to), `baselines` (the loops),
`ledger` (what the sink saw), `run` (`make bench`). `http_clients` is a bench of its own: it chose the client of the
hot POST.
"""
