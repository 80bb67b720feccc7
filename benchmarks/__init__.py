"""How fast is it? ``python -m benchmarks`` measures zk_trio, kazoo and a bare socket side by side.

Absolute figures drift with the machine and the hour, so everything is compared within one run of interleaved rounds:

- `slots`: what is measured, and how one measurement is made.
- `with_trio`, `with_kazoo`, `with_socket`: the contenders. `worker` runs one of them once, in a process of its own.
- `places`: which core a process runs on, and how much it is preferred.
- `servers`: a real ZooKeeper, and the stand-in (`stand_in.c`), which answers at wire speed and hides nothing.
- `rounds`: the interleaving, and the waiting for a quiet machine.
- `report`: medians, ratios and the Markdown table.
"""
