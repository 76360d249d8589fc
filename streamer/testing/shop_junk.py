"""What real producers put on a topic beside events: one record of each kind, with the discard code it must get.

Source for the codes: facts of the Segment ingest, "Discard codes".
"""

from typing import Final

# stream, discard code, value
JUNK: Final[tuple[tuple[str, str, bytes | None], ...]] = (
    ("track", "bad_request", b'{"type":"track","userId":"u-1","event":"Order Com'),
    ("track", "bad_request", None),
    ("identify", "traits_not_object", b'{"type":"identify","userId":"u-1","traits":"none"}'),
    ("track", "event_not_string", b'{"type":"track","userId":"u-1","event":42}'),
    ("track", "no_user_anon_id", b'{"type":"track","event":"Order Completed","properties":{}}'),
    ("identify", "id_not_string", b'{"type":"identify","userId":1042,"traits":{}}'),
    ("track", "event_not_defined", b'{"type":"track","userId":"u-1","properties":{}}'),
    ("track", "properties_not_object", b'{"type":"track","userId":"u-1","event":"Order Shipped","properties":[1]}'),
    ("track", "bad_request", b'["Order Completed","u-1"]'),
    ("track", "bad_request", b'{"userId":"u-1","event":"Order Completed"}'),
    ("identify", "bad_request", b"\xff\xfe\x00a binary blob"),
    ("track", "bad_request", b'{"type":"track","userId":"u-1","event":"Order Shipped","timestamp":"yesterday"}'),
    ("track", "bad_request", b'{"type":"track","userId":"u-1","event":"Order Shipped","pad":"' + b"x" * 40_000 + b'"}'),
)
