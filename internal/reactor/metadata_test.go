package reactor

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/offsets"
)

// textOf returns the text that is committed with a position.
func textOf(position int64, m *metadata) string {
	d := draftMetadata(m.topic, m.epoch, position, &m.ahead)
	return d.text(m.marksFrom)
}

func TestMetadataComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.Int64Range(0, 1<<50).Draw(t, "position")
		m := metadata{epoch: rapid.Int64Range(0, 1<<40).Draw(t, "epoch"), topic: topicID{7, 8}, marksFrom: 9}
		at := position
		for range rapid.IntRange(0, 200).Draw(t, "runs") {
			at += rapid.Int64Range(1, 1<<20).Draw(t, "gap")
			run := rapid.Int64Range(1, 1<<10).Draw(t, "run")
			m.ahead.Add(at, at+run)
			at += run
		}
		text := textOf(position, &m)
		if !ownMetadata(text) || len(text) > maxMetadataBytes {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
		got, err := decodeMetadata(position, text)
		if err != nil || got.epoch != m.epoch || got.topic != m.topic || got.marksFrom != 9 || !slices.Equal(got.ahead.Ranges(), m.ahead.Ranges()) {
			t.Fatalf("%q: %+v, %v, want %+v", text, got, err, m)
		}
	})
}

// TestMetadataThatDoesNotFitNamesWhereTheRestIs encodes more offsets done ahead than fit. The text must contain those
// nearest to the position, and the offset from which on the marks have the rest.
func TestMetadataThatDoesNotFitNamesWhereTheRestIs(t *testing.T) {
	m := metadata{marksFrom: 12345}
	for o := int64(1); o < 100_000; o += 2 {
		m.ahead.Add(o, o+1)
	}
	text := textOf(0, &m)
	if len(text) > maxMetadataBytes || len(text) < maxMetadataBytes*3/4 {
		t.Fatalf("%d bytes, at most %d", len(text), maxMetadataBytes)
	}
	got, err := decodeMetadata(0, text)
	if err != nil {
		t.Fatal(err)
	}
	n := got.ahead.Len()
	if n < 1000 || got.marksFrom != 12345 || !slices.Equal(got.ahead.Ranges(), m.ahead.Ranges()[:n]) {
		t.Fatalf("%d runs kept: %v", n, got.ahead.Ranges()[:min(n, 3)])
	}
}

func TestMetadataOfOthersIsNotTakenForOurs(t *testing.T) {
	good := textOf(5, &metadata{epoch: 1})
	for _, text := range []string{"", "some other client's", "tidings1:", "tidings1:!!", "tidings2:", "tidings3:AAAA", good[:len(good)-1], strings.ToLower(good), good + "A"} {
		if m, err := decodeMetadata(5, text); !errors.Is(err, errMetadata) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

// TestMetadataOfTheFirstVersion checks that text of format version 1 can still be read, so that no event is handled
// again after an update of the program.
func TestMetadataOfTheFirstVersion(t *testing.T) {
	b := binary.AppendUvarint(nil, 3) // epoch
	b = binary.AppendUvarint(b, 1)    // one run
	b = binary.AppendUvarint(b, 2)
	b = binary.AppendUvarint(b, 4)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	m, err := decodeMetadata(10, metadataPrefix1+base64.RawURLEncoding.EncodeToString(b))
	if err != nil || m.epoch != 3 || m.marksFrom != -1 || !slices.Equal(m.ahead.Ranges(), []offsets.Range{{Lo: 12, Hi: 16}}) {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	var m metadata
	m.ahead.Add(7, 9)
	m.ahead.Add(12, 1<<40)
	f.Add(int64(5), textOf(5, &m))
	f.Add(int64(0), "tidings1:AAAA")
	f.Fuzz(func(t *testing.T, position int64, text string) {
		m, err := decodeMetadata(max(position, 0), text)
		if err != nil {
			return
		}
		for _, r := range m.ahead.Ranges() {
			if r.Lo < position || r.Hi <= r.Lo {
				t.Fatalf("%q: range %v behind position %d", text, r, position)
			}
		}
		again, err := decodeMetadata(max(position, 0), textOf(max(position, 0), &m))
		if err != nil || again.epoch != m.epoch {
			t.Fatalf("%q: %+v, %v", text, again, err)
		}
	})
}
