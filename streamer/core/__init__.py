"""Pure rules: values in, values out; no asyncio, clock, randomness, logging or environment.

Read in this order: `records`, `identity`, `filters` (made of `filter_…`, `globs` and `paths`), `template`, `phone`,
`segments`, `mapping`, `delivery`, `state`, `plan`; then `hop`, `retry`, `commit_tracker`, and the small `duration` and
`caret`.
`now_ms`, jitter draws and limits arrive as arguments."""
