"""The stages of an audit: one module each, with what it reads, what else decides its
result, what it writes, and `run`.

The rules of the workflow, `mergetrace.audit`, the tests and the zoo all call the same
`run(inputs, params, outputs)`. Outputs are files rather than values: the evidence of a
397B model fits on a disk and not in memory. The option of a program under scripts/, the
name of a rule's input or output and the field here are one and the same word.
"""
