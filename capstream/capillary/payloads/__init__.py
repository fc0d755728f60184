"""Events as payloads: a table per kind says which member becomes which, in which form.

Source: capillary.md 7.6, 7.7; xdm.md 9.1, 9.2.
"""
