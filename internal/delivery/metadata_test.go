package delivery

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMetadataComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.Int64Range(0, 1<<50).Draw(t, "position")
		m := Metadata{Epoch: rapid.Int64Range(0, 1<<40).Draw(t, "epoch")}
		at := position
		for range rapid.IntRange(0, 200).Draw(t, "runs") {
			at += rapid.Int64Range(1, 1<<20).Draw(t, "gap")
			run := rapid.Int64Range(1, 1<<10).Draw(t, "run")
			m.Ahead.Add(at, at+run)
			at += run
		}
		text := EncodeMetadata(position, &m)
		if !OwnMetadata(text) || len(text) > MaxMetadataBytes {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
		got, err := DecodeMetadata(position, text)
		if err != nil || got.Epoch != m.Epoch || !slices.Equal(got.Ahead.Ranges(), m.Ahead.Ranges()) {
			t.Fatalf("%q: %+v, %v, want %+v", text, got, err, m)
		}
	})
}

// Case: so much is done ahead that it does not fit. What is kept is true, and it is the part nearest to the position.
func TestMetadataThatDoesNotFitLosesItsEnd(t *testing.T) {
	var m Metadata
	for o := int64(1); o < 100_000; o += 2 {
		m.Ahead.Add(o, o+1)
	}
	text := EncodeMetadata(0, &m)
	if len(text) > MaxMetadataBytes || len(text) < FullMetadataBytes {
		t.Fatalf("%d bytes, want between %d and %d", len(text), FullMetadataBytes, MaxMetadataBytes)
	}
	got, err := DecodeMetadata(0, text)
	if err != nil {
		t.Fatal(err)
	}
	n := got.Ahead.Len()
	if n < 1000 || !slices.Equal(got.Ahead.Ranges(), m.Ahead.Ranges()[:n]) {
		t.Fatalf("%d runs kept: %v", n, got.Ahead.Ranges()[:min(n, 3)])
	}
}

func TestMetadataOfOthersIsNotTakenForOurs(t *testing.T) {
	good := EncodeMetadata(5, &Metadata{Epoch: 1})
	for _, text := range []string{"", "some other client's", "tidings1:", "tidings1:!!", good[:len(good)-1], strings.ToLower(good), good + "A"} {
		if m, err := DecodeMetadata(5, text); !errors.Is(err, ErrMetadata) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	var m Metadata
	m.Ahead.Add(7, 9)
	m.Ahead.Add(12, 1<<40)
	f.Add(int64(5), EncodeMetadata(5, &m))
	f.Add(int64(0), "tidings1:AAAA")
	f.Fuzz(func(t *testing.T, position int64, text string) {
		m, err := DecodeMetadata(max(position, 0), text)
		if err != nil {
			return
		}
		for _, r := range m.Ahead.Ranges() {
			if r.Lo < position || r.Hi <= r.Lo {
				t.Fatalf("%q: range %v behind position %d", text, r, position)
			}
		}
		again, err := DecodeMetadata(max(position, 0), EncodeMetadata(max(position, 0), &m))
		if err != nil || again.Epoch != m.Epoch {
			t.Fatalf("%q: %+v, %v", text, again, err)
		}
	})
}
