"""Kafka through aiokafka: the only package that imports it.

Read in this order: `consumer`, `producer`, `topics`, `groups`; for commands `inspection`, `writer`; `told` words their
errors.
"""
