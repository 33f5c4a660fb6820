package reactor

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/offsets"
)

// TestProgressComesBackAsItWas checks that the offsets done ahead can be restored from their chunks, however scattered
// they are and in however many rounds they were written.
func TestProgressComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := topicID{1, 2, 3}
		epoch := rapid.Int64Range(0, 1<<40).Draw(t, "epoch")
		var ahead offsets.Set
		written := make(map[int64]int64)
		log := make(map[int64][]byte) // the newest value of each chunk, as compaction keeps it
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			at := rapid.Int64Range(0, 1<<18).Draw(t, "from")
			step := rapid.SampledFrom([]int64{1, 2, 3, 1000}).Draw(t, "step")
			for range rapid.IntRange(0, 40000).Draw(t, "offsets") {
				ahead.Add(at, at+1)
				at += step
			}
			for _, c := range changedChunks(0, &ahead, written) {
				if c.done.Empty() {
					t.Fatalf("a tombstone of chunk %d, and nothing was passed", c.number)
				}
				log[c.number] = encodeChunk(topic, epoch, &c)
				if n := len(log[c.number]); n > bitmapLen+64 {
					t.Fatalf("chunk %d has %d bytes", c.number, n)
				}
			}
			if again := changedChunks(0, &ahead, written); len(again) > 0 {
				t.Fatalf("chunks %v have changed, and nothing has", again)
			}
		}
		var back offsets.Set
		for number, value := range log {
			gotTopic, gotEpoch, done, err := decodeChunk(number, value)
			if err != nil || gotTopic != topic || gotEpoch != epoch {
				t.Fatalf("chunk %d: %v, %d, %v", number, gotTopic, gotEpoch, err)
			}
			for _, r := range done.Ranges() {
				back.Add(r.Lo, r.Hi)
			}
		}
		if !slices.Equal(back.Ranges(), ahead.Ranges()) {
			t.Fatalf("%d ranges, want %d", back.Len(), ahead.Len())
		}
		// When the position has passed all of them, a tombstone is written for each chunk.
		var none offsets.Set
		for _, c := range changedChunks(1<<40, &none, written) {
			if !c.done.Empty() {
				t.Fatalf("chunk %d is left", c.number)
			}
			delete(log, c.number)
		}
		if len(log) > 0 {
			t.Fatalf("%d chunks have no tombstone", len(log))
		}
	})
}

// TestAChunkHasChangedThoughAsMuchIsAhead moves the position past as many offsets as become done ahead of it. The chunk
// has changed, although its number of offsets has not.
func TestAChunkHasChangedThoughAsMuchIsAhead(t *testing.T) {
	written := make(map[int64]int64)
	ahead := offsets.SetOf(offsets.Range{Lo: 10, Hi: 20})
	if n := len(changedChunks(5, &ahead, written)); n != 1 {
		t.Fatalf("%d chunks", n)
	}
	ahead = offsets.SetOf(offsets.Range{Lo: 30, Hi: 40})
	changed := changedChunks(20, &ahead, written)
	if len(changed) != 1 || !changed[0].done.Contains(35) {
		t.Errorf("%v", changed)
	}
	if n := len(changedChunks(20, &ahead, written)); n != 0 {
		t.Errorf("%d chunks have changed, and nothing has", n)
	}
}

func FuzzDecodeChunk(f *testing.F) {
	c := chunk{number: 3, done: offsets.SetOf(offsets.Range{Lo: 3 << chunkBits, Hi: 3<<chunkBits + 9})}
	f.Add(int64(3), encodeChunk(topicID{1}, 2, &c))
	for o := int64(3 << chunkBits); o < 4<<chunkBits; o += 2 {
		c.done.Add(o, o+1)
	}
	f.Add(int64(3), encodeChunk(topicID{1}, 2, &c))
	f.Fuzz(func(t *testing.T, number int64, value []byte) {
		if number < 0 || number > 1<<40 {
			return
		}
		_, _, done, err := decodeChunk(number, value)
		if err != nil {
			if !errors.Is(err, errProgress) {
				t.Fatal(err)
			}
			return
		}
		for _, r := range done.Ranges() {
			if r.Lo>>chunkBits != number || (r.Hi-1)>>chunkBits != number {
				t.Fatalf("range %v in chunk %d", r, number)
			}
		}
	})
}

func TestKeysOfChunks(t *testing.T) {
	for key, want := range map[string]int64{"r/t/1/0": 0, "r/t/1/70000": 70000, "r/t/1/": -1, "r/t/10/5": -1, "r/t/1/-3": -1, "r/t/1/x": -1, "r/t/1/999999999999999": -1} {
		number, ok := chunkNumber(key, "r/t/1/")
		if ok != (want >= 0) || ok && number != want {
			t.Errorf("%s: %d, %v", key, number, ok)
		}
	}
}
