"""Kafka through aiokafka: the only package that imports it.

Read in this order: `consumer`, `producer`, `topics`, `groups`; `told` words their errors."""
