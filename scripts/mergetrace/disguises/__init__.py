"""Tensors that lie elsewhere than their names say, or were rewritten so that they look
different: found on a little of the weights, and put back as they are read.
"""
