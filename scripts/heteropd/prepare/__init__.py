"""Getting a machine ready: environments from locks, the engine, the model. Safe to repeat; quick when done.

`environments` and `pip_settings` use the standard library alone: the noxfile imports them before any
environment exists.
"""
