"""What survives a kill or a stranger: files, locks, tables, seals, ledgers.

Used by every room that reads or writes files. Imports `config` alone.
"""
