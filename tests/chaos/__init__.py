"""Known traffic through real processes while a seeded schedule breaks everything; then the books are compared.

schedule   which fault strikes when: pure, from a seed      feed       what the providers will send, and its fate
faults     how each fault is made, and lifted               provider   sends it over HTTP, again until it is accepted
proxy      sockets cut, deaf, slow, answers lost            processes  gates and workers, started again when they die
system     servers, proxies and processes in one folder     handlers   effects that show when they happen twice
driver     plays the schedule against the system            watch      stalls, memory, takeovers, while it runs
verdict    what was promised against what is there          table      what a person reads at the end

And the other way to break a gate: more than it may take, for minutes, while Redis is away half of the time.

overload   the gate, its slow workers, Redis, the verdict   crowd      a process full of clients, good and bad
requests   what they send, as bytes made beforehand         slow       handlers that take their time
memory     how much processes hold, and the most they did
"""
