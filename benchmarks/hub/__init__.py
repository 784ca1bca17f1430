"""Audits over the network, against a local server that speaks the protocol of the
Hub.
"""
