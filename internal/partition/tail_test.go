package partition

import (
	"bytes"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// heldMemory is overwritten when it is released, as memory that is used again would be.
type heldMemory struct {
	t        *testing.T
	b        []byte
	released int
}

func (m *heldMemory) Release() {
	if m.released++; m.released > 1 {
		m.t.Error("released twice")
	}
	for i := range m.b {
		m.b[i] = 0xee
	}
}

// Memory that a batch is held in goes back when the batch is in a segment file and out of the tail, not before, and never
// if a reader was given it.
func TestHeldMemory(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var held []*heldMemory
	var want [][]byte
	for i := range int64(6) {
		var b batch.Builder
		b.Reset(i)
		b.Add(1, nil, make([]byte, 1000))
		v := b.Batch()
		want = append(want, bytes.Clone(v))
		m := &heldMemory{t: t, b: v}
		held = append(held, m)
		l.AppendPooled(v, m)
	}
	// Case: the reader of offset 2 keeps what it was given.
	lent, err := l.Read(nil, 2, 1)
	if err != nil || len(lent) != 1 {
		t.Fatal(len(lent), err)
	}
	l.EvictTail(0)
	for i, m := range held {
		if m.released != 0 {
			t.Fatalf("batch %d was released and not written yet", i)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.EvictTail(int64(len(want[5])))
	for i, m := range held {
		if wanted := i != 2 && i != 5; wanted != (m.released == 1) {
			t.Errorf("batch %d was released %d times", i, m.released)
		}
	}
	if !bytes.Equal(lent[0], want[2]) {
		t.Error("what a reader was given has changed")
	}
	for i := range want {
		got, err := l.Read(nil, int64(i), 1)
		if err != nil || len(got) == 0 || !bytes.Equal(got[0][:len(want[i])], want[i]) {
			t.Errorf("batch %d reads otherwise: %v", i, err)
		}
	}
}
