"""What others' exports mean, and what becomes of them here: `streamer import`.

In reading order: `javascript` (text and members as Segment's language has them), `actions_words` and `actions` (what
Segment's own parser makes of a trigger, accidents included), `conditions` (the tree of streamer's filters, and its
print, which the service's own filters evaluate), `reference` (what a trigger's author wrote, with the repairs that have
one meaning), `exact` (Segment's reading written as a filter of ours), `witness` (an event on which two readings part),
`triggers` (all of that for one trigger), `differences`, `export` (the file), `senders`, `directives` (what a field's
value holds), `fields`, `mending` (what the service's loader refuses), `texts` (what a filled-in field changes),
`messages` (one subscription as a mapping), `folder` (the files to write).

Everything is a pure function of the export: nothing is read, written or printed here.
"""
