"""What the tests stand on: real servers, a proxy that breaks connections, a scripted peer, an independent client.

Nothing here but `memory` uses the project's own code, on purpose: it is the witness against which that code is tested.

- `servers`, `ensemble`: real Apache ZooKeeper servers (`settings`: how they are configured; `java`: where
  they come from).
- `memory`: this project's servers in memory, with the methods of the real ones.
- `processes`: child processes that are gone when the test process is gone, however it dies (`supervise` is the script).
- `proxy`: a TCP proxy with faults by name (`proxy_link`: one proxied connection).
- `peer`: a server played by the test itself, frame by frame.
- `raw`: a tiny blocking client and the four-letter words.
- `certificates`: a certification authority for TLS tests.
- `leaks`, `waiting`: no thread or process outlives a test; waiting with a limit.
"""
