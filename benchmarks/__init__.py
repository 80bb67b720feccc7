"""How fast is it? ``python -m benchmarks`` measures all adapters, kazoo, aiozk and a bare socket.

Absolute figures drift with the machine and the hour, so everything is compared within one run of interleaved rounds:

- `slots`: what is measured, and how one measurement is made.
- `with_trio`, `with_anyio`, `with_blocking`, `with_kazoo`, `with_aiozk`, `with_socket`: the contenders. `worker` runs
  one of them once, in a process of its own.
- `ways`: what the contenders with tasks have in common, and those that block.
- `places`: which core a process runs on, and how much it is preferred.
- `servers`: a real ZooKeeper, and the stand-in (`stand_in.c`), which answers at wire speed and hides nothing.
- `rounds`: the interleaving, and the waiting for a quiet machine.
- `calls`: counts system calls with strace.
- `report`: medians, ratios and the Markdown table.
- `goals`: what is to be reached, and what was.
"""
