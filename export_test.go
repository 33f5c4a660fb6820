package tidings

import "time"

// FindPartitionsWithin makes new partitions be found soon.
func FindPartitionsWithin(d time.Duration) Option {
	return func(o *appOptions) { o.metadataMaxAge = d }
}

// The tests of what has no face.
var (
	ValidTraceParent = validTraceParent
	ChildTraceParent = childTraceParent
	LastWord         = lastWord
	CommonImperative = func(word string) bool { return imperatives[word] }
)
