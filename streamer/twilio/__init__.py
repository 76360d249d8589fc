"""Twilio's REST API: one adapter of the `SmsGateway` port."""
