"""Shipped fakes and servers that tests, the demo and users run: fake Twilio, brokers, in-memory ports."""
