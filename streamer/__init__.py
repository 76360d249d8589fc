"""streamer: customer events from Kafka, messages through Twilio.

Read in this order: `core/plan`, `core/delivery`, `ports`, `pipeline/router`, `pipeline/owner`, `pipeline/dispatch`,
`app`.
Invariant: `core` decides and is pure; everything else does.
"""
