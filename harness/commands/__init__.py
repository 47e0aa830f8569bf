"""The subcommands of ``prunebench``, a file each; none of them imports torch."""
