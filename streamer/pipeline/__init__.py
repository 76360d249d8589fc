"""The asyncio flow over ports: records in, decisions, sends, records out.

Read in this order: `router`, `owner`, `assignment`, `sender`, `restore`, `committer`, `dead_letters`."""
