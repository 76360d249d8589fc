"""Twilio's REST API: one adapter of the `SmsGateway` port. Read `client`, then `token` and `listing`."""
