"""Pure rules: values in, values out; no asyncio, clock, randomness, logging or environment.

Read in this order: `records`, `identity`, `filters` (made of `filter_…`, `globs` and `paths`), `template`, `phone`,
`segments`, `channels`, `action` with `action_fields`, `event_filters`, `consent`, `limits`, `zones`, `quiet_presets`,
`quiet_hours`, `policies`, `rules`, `rule_compiler`, `delivery`, `profile`, `sends`, `state`, `suppressions`,
`parking`, `once`, `gate`, `decide`, `plan`, `outcomes`, `retry`, `attempts`, `leaving`, `following`, `recall`,
`holding`, `away`; who may send when: `gcra`, `breaker`, `concurrency`, `fair`; how people are told apart: `people`,
`links`, `hop`, `routing`, `merging`, `erasure`; and `handling`, the entry to all; then `wheel`, `frontier`,
`commit_tracker`, `duration`, `caret`.
Segment's mappings: `mapping`, `mapping_tree`, `directives`, then `liquid_sandbox` and `js_text`, on which all print.
For the tools: `audit`, `open_sends`, `holds`, `profile_view`, `rehearsal`, `trial_policies`, `trial`, `story`, `lint`,
`documents`, `schemas`. `now_ms`, jitter draws and limits arrive as arguments."""
