package obligation

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"tidings.dev/internal/offsets"
)

// TestThePlainFormMeansWhatJSONMeans decodes what Encode returns in both ways, and then with one byte of it replaced, left out or
// doubled: whatever plainSettled and plainMarks take must be what encoding/json makes of it.
func TestThePlainFormMeansWhatJSONMeans(t *testing.T) {
	at := time.Date(2026, 3, 4, 10, 0, 0, 123_000_000, time.UTC)
	through := []Position{{Topic: "orders", Partition: 3, Offset: 77, TopicID: TopicID{1, 2}, Span: 12}, {Topic: "mails", Offset: 9}}
	for name, f := range map[string]Fact{
		"settled":       &Settled{Correlation: "c", Root: "r", Episode: 12, Events: 7, Through: through, At: at},
		"short settled": &Settled{Correlation: "c", Episode: 1, Events: 1},
		"marks": &Marks{
			Reaction: "payment", Topic: "orders", TopicID: TopicID{9}, Partition: 2, Epoch: 4, Leader: new(int32),
			Done: []offsets.Range{{Lo: 1, Hi: 3}, {Lo: 5, Hi: 6}}, Unhandled: []offsets.Range{{Lo: 2, Hi: 3}}, Emitted: []offsets.Range{},
			Through: through, Position: 6, Started: at, Finished: at.Add(time.Second),
			Times: []Timing{{Offset: 1, Took: time.Millisecond, Finished: at.Add(time.Millisecond)}, {Offset: 5, Finished: at}},
		},
		"short marks": &Marks{Reaction: "payment", Topic: "orders"},
	} {
		value := Encode(f)
		if ok := samePlain(t, name, value); !ok {
			t.Errorf("%s is not read as plain: %s", name, value)
		}
		for i := range value {
			for _, c := range []byte("\" \\0-9,:[]{}eEn.\x00\x7f\xc3") {
				samePlain(t, name, append(append(append([]byte(nil), value[:i]...), c), value[i+1:]...))
				samePlain(t, name, append(append(append([]byte(nil), value[:i]...), c), value[i:]...))
			}
			samePlain(t, name, append(append([]byte(nil), value[:i]...), value[i+1:]...))
			samePlain(t, name, value[:i])
		}
	}
	// Case: what others may write, and what does not fit.
	for _, fact := range []Fact{
		&Settled{Correlation: "ü", Episode: 1}, &Settled{Correlation: "<&>", Episode: 1},
		&Marks{Reaction: "r", Topic: "t", Skipped: []Skipped{{Offset: 1, Reason: "why"}}},
	} {
		if samePlain(t, "others", Encode(fact)) {
			t.Errorf("%s is read as plain", Encode(fact))
		}
	}
}

// samePlain decodes a value in both ways, and reports whether it is plain.
func samePlain(t *testing.T, name string, value []byte) bool {
	t.Helper()
	s, settled := plainSettled(value)
	m, marks := plainMarks(value)
	switch {
	case settled:
		slow := new(Settled)
		if err := json.Unmarshal(value, slow); err != nil || !reflect.DeepEqual(s, slow) {
			t.Fatalf("%s: %s is read as\n%+v, and by JSON as\n%+v, %v", name, value, s, slow, err)
		}
	case marks:
		slow := new(Marks)
		wire := struct {
			*Marks
			Times [][3]int64 `json:"times"`
		}{Marks: slow}
		err := json.Unmarshal(value, &wire)
		for _, t := range wire.Times {
			slow.Times = append(slow.Times, slow.timing(t))
		}
		if err != nil || !reflect.DeepEqual(m, slow) {
			t.Fatalf("%s: %s is read as\n%+v, and by JSON as\n%+v, %v", name, value, m, slow, err)
		}
	}
	return settled || marks
}
