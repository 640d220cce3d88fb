"""The zoo: small changes of a good deployment, each with the checks that must not pass, or must pass.

`world` is the good deployment. The other modules are its worlds, by area; `ROWS` has all of them.
"""
