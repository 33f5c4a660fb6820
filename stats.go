package tidings

import (
	"time"

	"tidings.dev/internal/reactor"
)

// ReactionStats has the counts of one reaction in this process, since the process started. [App.Stats] returns it.
type ReactionStats struct {
	Handled    int64 `json:"handled"`    // events whose handler succeeded
	Retried    int64 `json:"retried"`    // attempts that failed, after which the event is tried again
	Skipped    int64 `json:"skipped"`    // events that a handler skipped
	Duplicates int64 `json:"duplicates"` // copies of events that were dropped
	Unhandled  int64 `json:"unhandled"`  // events of types that the reaction does not handle
	Emitted    int64 `json:"emitted"`    // events that the reaction's handlers emitted

	// NotUnderstood is the number, among Unhandled, of records that claim to be CloudEvents but could not be read as
	// such: they are in an unknown content mode or version, or malformed. The first of each topic is logged.
	NotUnderstood int64 `json:"not_understood"`

	Waiting  int `json:"waiting"`  // events that wait for their handler, or whose handler runs
	Retrying int `json:"retrying"` // among Waiting, those that failed and wait for another attempt
	Dropped  int `json:"dropped"`  // among Waiting, those whose payload was dropped and will be read again (see Buffer)
	Running  int `json:"running"`  // handlers that run now

	Buffered int64 `json:"buffered"` // bytes of memory that the waiting events take

	// Slow has the running handlers that have been running for longer than SlowAfter, the longest first.
	Slow []SlowHandler `json:"slow,omitempty"`

	// Mismatches has the differences between the fields of events and those of the types that they are decoded into. A
	// difference is logged once for each type, version and source.
	Mismatches []FieldMismatch `json:"mismatches,omitempty"`

	// StandsBy is true while this instance takes no events because the reaction is subscribed to types for which this
	// program has no handler. It leaves them to a newer version of the program (see AppVersion).
	StandsBy bool `json:"stands_by,omitempty"`
}

// SlowHandler describes a call of a handler that has been running for longer than [SlowAfter]. Until the handler
// returns, later events of its subject wait in this instance.
type SlowHandler struct {
	// ID, Type, Subject, Topic, Partition and Offset are those of the event.
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Subject   string    `json:"subject,omitempty"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Since     time.Time `json:"since"`   // when the call began
	Attempt   int       `json:"attempt"` // number of the attempt, from 1
	// TimedOut reports whether the handler's Timeout is over: its context has ended, and another handler may run in
	// its place.
	TimedOut bool `json:"timedOut,omitempty"`
}

// statsOf returns the figures of a reactor as ReactionStats, without Mismatches.
func statsOf(s reactor.Stats) ReactionStats {
	stats := ReactionStats{
		Handled: s.Handled, Retried: s.Retried, Skipped: s.Skipped, Duplicates: s.Duplicates, Unhandled: s.Unhandled, Emitted: s.Emitted, NotUnderstood: s.NotUnderstood,
		Waiting: s.Waiting, Retrying: s.Retrying, Running: s.Running, Dropped: s.Dropped, Buffered: s.Buffered, StandsBy: s.StandsBy,
	}
	for _, h := range s.Slow {
		stats.Slow = append(stats.Slow, SlowHandler(h))
	}
	return stats
}

// DetachedEmissions returns how many times, since the app was opened, a running handler has emitted an event on its
// own goroutine without its context. Such an emission begins a story of its own, and is sent even if the handler
// fails. Each one is logged as a warning; to avoid it, pass on the context that the handler got.
func (a *App) DetachedEmissions() int64 { return a.detached.Load() }

// Stats returns the counts of each reaction of the app, by the reaction's name. The counts of one reaction are of one
// moment; those of different reactions may be of slightly different moments.
func (a *App) Stats() map[string]ReactionStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]ReactionStats, len(a.reactions))
	for name, r := range a.reactions {
		all[name] = r.stats()
	}
	return all
}
