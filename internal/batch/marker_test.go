package batch

import "testing"

// TestMarker checks markers as Apache Kafka writes them: the bytes of the record, and what Marker says of it.
func TestMarker(t *testing.T) {
	for _, commit := range []bool{false, true} {
		v := View(AppendMarker([]byte{1}, 7, 3, commit, 1000)[1:])
		if err := Check(v); err != nil {
			t.Fatal(err)
		}
		if !v.Control() || !v.Transactional() || v.ProducerID() != 7 || v.ProducerEpoch() != 3 || v.BaseSequence() != -1 || v.Count() != 1 {
			t.Errorf("%x", []byte(v))
		}
		want := "\x20\x00\x00\x00\x08\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00"
		if commit {
			want = "\x20\x00\x00\x00\x08\x00\x00\x00\x01\x0c\x00\x00\x00\x00\x00\x00\x00"
		}
		if got := string(v.Payload()); got != want {
			t.Errorf("record %x, want %x", got, want)
		}
		if got, ok := v.Marker(); got != commit || !ok {
			t.Errorf("Marker: %v, %v", got, ok)
		}
	}
	// Case: no markers.
	for _, key := range []string{"", "\x00\x00\x00", "\x00\x00\x00\x02"} {
		var b Builder
		b.Producer(7, 3, -1)
		b.Transactional(true)
		b.Add(1, []byte(key), nil)
		v := b.Batch()
		if _, ok := v.Marker(); ok {
			t.Errorf("key %q is a marker", key)
		}
		if _, ok := View(AppendEmpty(nil, v)).Marker(); ok {
			t.Error("an empty batch is a marker")
		}
	}
}
