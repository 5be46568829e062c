"""`make up`: one parent process for a whole studio on one machine.

Not used where an operator runs the parts each by itself, as compose.yaml does.
"""
