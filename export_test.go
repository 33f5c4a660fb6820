package tidings

import "time"

// FindPartitionsWithin makes new partitions be found soon.
func FindPartitionsWithin(d time.Duration) Option {
	return func(o *appOptions) { o.metadataMaxAge = d }
}

// The tests of what has no face.
var (
	LastWord         = lastWord
	CommonImperative = func(word string) bool { return imperatives[word] }
)

// Watched returns an event as the handlers of a reaction get it, for benchmarks.
func Watched(e Any) Any {
	e.mismatches = &mismatches{from: make(map[sender]*sent)}
	return e
}
