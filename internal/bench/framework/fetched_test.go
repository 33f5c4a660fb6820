package framework

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Case: what a client fetches from the topic is counted, as much as kgo says that it is; what another one fetches from
// another topic is counted apart.
func TestFetchesAreCountedByTopic(t *testing.T) {
	e := endpoint(t)
	one, other := filled(t, e, 1000), filled(t, e, 500)
	f, err := fetchedOf(t.Context(), e, one.Topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []Backlog{one, other} {
		if read, err := batchBytes(t.Context(), f.on(e), b.Topic, b.Events); err != nil || read != b.Bytes {
			t.Errorf("kgo has read %d bytes of %d, %v", read, b.Bytes, err)
		}
	}
	for what, c := range map[string]struct{ got, want int64 }{"topic": {f.bytes.Load(), one.Bytes}, "other": {f.others.Load(), other.Bytes}} {
		if c.got < c.want || c.got > c.want+c.want/10 {
			t.Errorf("%s: %d bytes were counted, and the batches have %d", what, c.got, c.want)
		}
	}
	if _, err := fetchedOf(t.Context(), e, "missing"); err == nil {
		t.Error("a topic that does not exist is counted")
	}
}

// Case: a client that reads the topic twice.
func TestFetchesAreCountedAgain(t *testing.T) {
	e := endpoint(t)
	b := filled(t, e, 1000)
	f, err := fetchedOf(t.Context(), e, b.Topic)
	if err != nil {
		t.Fatal(err)
	}
	client, err := f.on(e).Client(t.Context(), kgo.ConsumeTopics(b.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 2 {
		for n := 0; n < int(b.Events); {
			fetches := client.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			n += fetches.NumRecords()
		}
		client.SetOffsets(map[string]map[int32]kgo.EpochOffset{b.Topic: {0: {}, 1: {}, 2: {}}})
	}
	if got := f.bytes.Load(); got < 2*b.Bytes {
		t.Errorf("%d bytes were counted; the topic has %d, and was read twice", got, b.Bytes)
	}
}

// Case: responses that come in pieces, and others between them.
func TestFramesAreFollowed(t *testing.T) {
	stream := []byte{
		0, 0, 0, 6, 0, 0, 0, 7, 'a', 'b', // response 7, of 6 bytes
		0, 0, 0, 4, 0, 0, 0, 8, // response 8, empty
		0, 0, 0, 5, 0, 0, 0, 9, 'c',
	}
	for piece := 1; piece <= len(stream); piece++ {
		var f frames
		var heads []byte
		var bytes int
		for at := 0; at < len(stream); at += piece {
			f.pass(stream[at:min(at+piece, len(stream))], responseHead,
				func(head []byte) { heads = append(heads, head[7]) }, func(n int) { bytes += n })
		}
		if string(heads) != "\x07\x08\x09" || bytes != len(stream) {
			t.Errorf("in pieces of %d: responses %v of %d bytes", piece, heads, bytes)
		}
	}
}
