"""Workers: processes that take runs of a work pool from the server and run them, here or elsewhere.

`base` is what every type of worker shares and what users build their own on, `process` runs flows as processes of this machine.
"""
