// Package reactor runs reactions: it receives the events of one consumer group, runs handlers for them, and commits the
// group's positions. A scheduler, which is pure, makes the decisions; a [Reactor] performs them and holds the only lock
// of both.
//
// A record passes through these files:
//
//	poll.go        takes what kgo has fetched                                       Reactor.poll
//	intake.go      tells replayed records, copies and events without a handler
//	               from items                                                       scheduler.onArrived
//	lanes.go       makes the items of one subject wait for each other               lanes
//	driver.go      gives items whose turn it is to workers                          Reactor.performAll
//	worker.go      runs the handler                                                 Reactor.work
//	attempts.go    records that the event was handled or skipped, or has failed     scheduler.onHandled, …
//	tracker.go     moves the position over the offsets that are done                tracker
//	round.go       makes commit rounds                                              Reactor.commitRounds
//	gather.go      collects what has become done for a commit round                 scheduler.onRoundBegun
//	committer.go   writes marks, and then commits positions                         atLeastOnce
//
// The other files:
//
//	emitting.go                               appends what handlers have emitted
//	claims.go, acknowledged.go                share work between workers and the lock: turns that are cut, and emissions
//	lanetable.go                              finds lanes
//	group.go, assignment.go, revocation.go    join and leave the group, take partitions up and give them up
//	subscription.go, subscriptionlog.go       record which types the reaction is subscribed to, and since when
//	passing.go, standby.go                    pass over events without a handler, or leave them to a newer version
//	resume.go, history.go, replay.go          find where a partition is taken up, and what is read again for it
//	metadata.go, progress.go, failing.go      encode what is committed with a position, and what has no room there
//	retry.go, running.go                      try events again, and report handlers that run for long
//	budget.go, backlog.go, refetch.go         bound memory, and read again what was dropped for that
//	window.go, derivation.go                  recognise copies, and derive ids
//	control.go, seek.go, decide.go            read commands for the reaction, and carry out seeks while it runs
//	fetched.go, remade.go, lost.go            deal with records of an earlier assignment, topics that were deleted and
//	                                          made again, and events that retention has deleted
//
// scheduler.go states the scheduler's invariants, events.go has its events and effects, and partition.go its state of a
// partition.
package reactor
