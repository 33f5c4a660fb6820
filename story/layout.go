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
//	names        │ name 4 │                                                    text
//	topics       │ topic 4 │                                                   │ flags 1 │ topic id 16 │ text │
//	positions    │ topic 4 │ partition 4 │                                     │ next offset 8 │ tail …
//	events       │ topic 4 │ partition 4 │ offset 8 │                          eventRow
//	ids          │ hash of an event id 8 │ identity 16 │                       locations: │ topic 4 │ partition 4 │ offset 8 │ …
//	stories      │ story 8 │                                                   storyRow
//	storyevents  │ story 8 │ sequence 4 │                                      location of the event
//	find         │ kind 1 │ term … │ 0 │ story 8 │                             empty
//	listeners    │ listener 4 │                                                listener row
//	coverage     │ listener 4 │ partition 4 │                                  coverage row
//	notes        │ listener 4 │ partition 4 │ offset 8 │                       note
//	times        │ listener 4 │ partition 4 │ offset>>8, 8 │ order 8 │         timings, see addTimings
//	due          │ story 8 │                                                   empty: tidings.story lacks a verdict
//	ahead        correlation                                                   newest fact of tidings.story, if read before its events
//
// order is the offset in tidings.reactions of the record that the row comes from. A row with a higher order is newer.
var (
	bucketMeta        = []byte("meta")
	bucketNames       = []byte("names")
	bucketTopics      = []byte("topics")
	bucketPositions   = []byte("positions")
	bucketEvents      = []byte("events")
	bucketIDs         = []byte("ids")
	bucketStories     = []byte("stories")
	bucketStoryEvents = []byte("storyevents")
	bucketFind        = []byte("find")
	bucketListeners   = []byte("listeners")
	bucketCoverage    = []byte("coverage")
	bucketNotes       = []byte("notes")
	bucketTimes       = []byte("times")
	bucketDue         = []byte("due")
	bucketAhead       = []byte("ahead")

	buckets = [][]byte{bucketMeta, bucketNames, bucketTopics, bucketPositions, bucketEvents, bucketIDs, bucketStories,
		bucketStoryEvents, bucketFind, bucketListeners, bucketCoverage, bucketNotes, bucketTimes, bucketDue, bucketAhead}
)

// Keys of the bucket meta.
var (
	keyFormat  = []byte("format")
	keyBoot    = []byte("boot")
	keyCluster = []byte("cluster")
	keyStats   = []byte("stats")
)

// formatName is the value of the key format in the bucket meta. [OpenIndex] puts a file with another value aside and
// builds a new one.
const formatName = "tidings story 7"

// closedCleanly is the value of the key boot in a file that [Index.Close] has synced. In an open file, the value is
// the boot id.
const closedCleanly = "clean"

// The first byte of a key in the bucket find: the kind of search term.
const (
	findCorrelation = 'c'
	findSubject     = 's'
	findTrace       = 't'
)

// Lengths of an encoded location and of an encoded storyNum, in bytes.
const (
	locationLen = 16
	storyLen    = 8
)

func u32Key(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64Key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func storyKey(n storyNum) []byte { return u64Key(uint64(n)) }

func storyEventKey(n storyNum, sequence uint32) []byte {
	return binary.BigEndian.AppendUint32(storyKey(n), sequence)
}

// partitionKey returns the first 8 bytes of the key of an event. The slice has capacity for the offset that
// locationKey appends.
func partitionKey(p partition) []byte {
	b := make([]byte, 8, locationLen)
	binary.BigEndian.PutUint32(b, uint32(p.topic))
	binary.BigEndian.PutUint32(b[4:], uint32(p.partition))
	return b
}

func locationKey(at location) []byte {
	return binary.BigEndian.AppendUint64(partitionKey(at.partition), uint64(at.offset))
}

// parseLocation decodes the location in the first 16 bytes of b. It panics if b is shorter.
func parseLocation(b []byte) location {
	return location{
		partition{topicNum(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))},
		int64(binary.BigEndian.Uint64(b[8:])),
	}
}

// parseLocations decodes a value of the bucket ids: locations of 16 bytes each.
func parseLocations(b []byte) []location {
	locations := make([]location, 0, len(b)/locationLen)
	for ; len(b) >= locationLen; b = b[locationLen:] {
		locations = append(locations, parseLocation(b))
	}
	return locations
}

// findKey returns a key of the bucket find without the story number at its end. Without its last byte, which is 0, it
// is a prefix of the keys of all terms that begin with term. A term may itself contain a 0 byte: the keys of exactly
// this term are those that begin with findKey and are 8 bytes longer.
func findKey(kind byte, term string) []byte {
	k := make([]byte, 0, 1+len(term)+1+storyLen)
	k = append(k, kind)
	k = append(k, term...)
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
