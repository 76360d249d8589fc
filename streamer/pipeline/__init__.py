"""The asyncio flow over ports: records in, decisions, sends, records out.

Read in this order: `router`, `owner`, `lease`, `claims`, `lane`, `assignment`, `held`, `dispatch`, `looks`,
`effects`, `outbox`, `suppressions`, `restore`, `committer`, `handled`, `dead_letters`."""
