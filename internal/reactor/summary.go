package reactor

import (
	"time"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// finished is what a commit round writes of one partition.
type finished struct {
	topicPartition
	incarnation incarnation
	epoch       int64         // number of the last seek
	leader      int32         // leader epoch of the newest record below read; -1 if none is known
	read        int64         // the lowest offset that has not arrived
	position    int64         // position to commit
	draft       metadataDraft // metadata to commit with the position
	// marksFrom is an offset of tidings.reactions: what is done ahead is in the metadata, in the progress, or in the marks
	// from there on.
	marksFrom int64
	// whole means that all that is done ahead, the marks of this round included, is in the metadata and in the progress once
	// chunks is written.
	whole          bool
	failing        []failure       // failing events, to be written together with the chunks
	failingChanged bool            // whether failing differs from what was written last
	chunks         []chunk         // chunks of the progress, to be written after the marks
	done           []offsets.Range // offsets to be marked as done
	summary
}

// marked reports whether the part has marks. If not, only its position is committed again.
func (f *finished) marked() bool { return len(f.done) > 0 || len(f.copies) > 0 }

// summary is what marks say about offsets besides that they are done. The zero value says nothing.
type summary struct {
	skipped   []obligation.Skipped
	retried   []obligation.Retried
	copies    []obligation.Copy
	unhandled offsets.Set // those of the done offsets whose events had no handler
	emitted   emitted
	times     []obligation.Timing
	started   time.Time // when the first of the handler runs began; zero if there was none
	ended     time.Time // when the last of the handler runs ended
}

// add adds later to s, which must be about lower offsets or earlier runs.
func (s *summary) add(later summary) {
	s.skipped = append(s.skipped, later.skipped...)
	s.retried = append(s.retried, later.retried...)
	s.copies = append(s.copies, later.copies...)
	for _, r := range later.unhandled.Ranges() {
		s.unhandled.Add(r.Lo, r.Hi)
	}
	s.emitted.merge(&later.emitted)
	s.times = append(s.times, later.times...)
	s.cover(later.started, later.ended)
}

// cover extends the time from s.started to s.ended so that it includes a run. Zero times change nothing.
func (s *summary) cover(started, ended time.Time) {
	if !started.IsZero() && (s.started.IsZero() || started.Before(s.started)) {
		s.started = started
	}
	if ended.After(s.ended) {
		s.ended = ended
	}
}
