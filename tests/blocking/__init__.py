"""What is special to threads: Ctrl-C, timeouts, leaders and followers, forks, the end of the interpreter."""
