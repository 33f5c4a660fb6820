package story

import "encoding/binary"

// The index file is a bbolt database with these buckets. Keys are big-endian, so that bbolt's order of bytes is the order
// of the numbers; row.go has the values that are more than one number. Widths are in bytes:
//
//	bucket       key                                                           value
//	meta         format                                                        text: formatName
//	             boot                                                          text: boot id of the machine, or closedCleanly
//	             cluster                                                       text: id of the cluster
//	             stats                                                         Stats as 4 uvarints
//	             seed                                                          hashSeed
//	             laststory                                                     │ the highest story number that was given 8 │
//	             forgotten                                                     │ story 8 │: all below are forgotten, see storyset.go
//	             stale                                                         │ run 4 │ …: not to be found in hashes, see hashmerge.go
//	names        │ name 4 │                                                    text
//	topics       │ topic 4 │                                                   │ flags 1 │ topic id 16 │ text │
//	positions    │ topic 4 │ partition 4 │                                     positionRow, see tail.go
//	events       │ topic 4 │ partition 4 │ offset / blockEvents, 8 │            events, see eventblock.go
//	hashes       │ run 4 │ piece 4 │                                           hashes of ids, correlations and traces, see hashrun.go
//	stories      │ story 8 │                                                   storyRow
//	storyevents  │ story 8 │ group 4 │                                         locations of events, see storyrows.go
//	subjects     │ subject … │ 0 │ story 8 │                                   empty
//	listeners    │ listener 4 │                                                listener row
//	coverage     │ listener 4 │ partition 4 │                                  coverage row
//	notes        │ listener 4 │ partition 4 │ offset 8 │                       note
//	times        │ listener 4 │ partition 4 │ offset>>8, 8 │ order 8 │         timings, see addTimings
//	due          │ story / dueStories, 8 │                                      bits: tidings.story lacks a verdict, see due.go
//	gone         │ story / setStories, 8 │                                      bits: the story is forgotten, see storyset.go
//	ahead        correlation                                                   newest fact of tidings.story, if read before its events
//
// Events below the offset forgotten of their partition are not in the index unless somebody owes them (forget.go).
//
// order is the offset in tidings.reactions of the record that the row comes from. A row with a higher order is newer.
var (
	bucketMeta        = []byte("meta")
	bucketNames       = []byte("names")
	bucketTopics      = []byte("topics")
	bucketPositions   = []byte("positions")
	bucketEvents      = []byte("events")
	bucketHashes      = []byte("hashes")
	bucketStories     = []byte("stories")
	bucketStoryEvents = []byte("storyevents")
	bucketSubjects    = []byte("subjects")
	bucketListeners   = []byte("listeners")
	bucketCoverage    = []byte("coverage")
	bucketNotes       = []byte("notes")
	bucketTimes       = []byte("times")
	bucketDue         = []byte("due")
	bucketGone        = []byte("gone")
	bucketAhead       = []byte("ahead")

	buckets = [][]byte{bucketMeta, bucketNames, bucketTopics, bucketPositions, bucketEvents, bucketHashes, bucketStories,
		bucketStoryEvents, bucketSubjects, bucketListeners, bucketCoverage, bucketNotes, bucketTimes, bucketDue, bucketGone, bucketAhead}
)

// Keys of the bucket meta.
var (
	keyFormat  = []byte("format")
	keyBoot    = []byte("boot")
	keyCluster = []byte("cluster")
	keyStats   = []byte("stats")
	keySeed    = []byte("seed")

	keyLastStory = []byte("laststory")
	keyForgotten = []byte("forgotten")
	keyStale     = []byte("stale")
)

// formatName is the value of the key format in the bucket meta. [OpenIndex] puts a file with another value aside and
// builds a new one.
const formatName = "tidings story 9"

// closedCleanly is the value of the key boot in a file that [Index.Close] has synced. In an open file, the value is
// the boot id.
const closedCleanly = "clean"

// storyLen is the length of an encoded storyNum in bytes.
const storyLen = 8

func u32Key(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64Key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func storyKey(n storyNum) []byte { return u64Key(uint64(n)) }

// partitionKey returns the first 8 bytes of the key of a block of events. The slice has capacity for the 8 bytes that follow.
func partitionKey(p partition) []byte {
	b := make([]byte, 8, 16)
	binary.BigEndian.PutUint32(b, uint32(p.topic))
	binary.BigEndian.PutUint32(b[4:], uint32(p.partition))
	return b
}

// subjectKey returns a key of the bucket subjects without the story number at its end. Without its last byte, which is 0, it is
// a prefix of the keys of all subjects that begin with subject. A subject may itself contain a 0 byte: the keys of exactly
// this subject are those that begin with subjectKey and are 8 bytes longer.
func subjectKey(subject string) []byte {
	k := make([]byte, 0, len(subject)+1+storyLen)
	k = append(k, subject...)
	return append(k, 0)
}

func coverageKey(listener uint32, p int32) []byte {
	return binary.BigEndian.AppendUint32(u32Key(listener), uint32(p))
}

func noteKey(listener uint32, p int32, offset int64) []byte {
	return binary.BigEndian.AppendUint64(coverageKey(listener, p), uint64(offset))
}

// timesKey returns the key of the timings of offsets [block<<8, (block+1)<<8) that the record of tidings.reactions at
// offset order reported.
func timesKey(listener uint32, p int32, block, order int64) []byte {
	return binary.BigEndian.AppendUint64(noteKey(listener, p, block), uint64(order))
}
