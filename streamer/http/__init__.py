"""The operator's HTTP endpoints: metrics, health and readiness."""
