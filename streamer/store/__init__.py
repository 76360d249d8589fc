"""State stores: where the encoded state records of owned partitions are kept.

In reading order: `local` (when a copy on disk may be used), `memory` (a dict, and `snapshot` of it), `disk` (LMDB, over
`environment`). A copy is complete up to an offset and may hold newer records; the changelog from there makes it exact.
"""
