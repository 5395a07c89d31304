"""The commands, a file each: parse, then one call of a pipeline, then its report.

main.py is `ulmo`; options.py makes options from settings; exits.py says how a command ends.
"""
