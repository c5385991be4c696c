"""The sub-commands of `geo4d`, one module each; `geo4d_lite.cli` imports a module when its command is called."""
