package engine

import (
	"errors"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Case: a configuration that is changed is in force for the next append and for retention at once, and after a restart
// with and without a checkpoint in between.
func TestConfigIsChangedWhileRunning(t *testing.T) {
	c := Config{FS: vfs.NewMem(), JournalFileBytes: 1 << 20}
	e := openWith(t, c)
	id := Partition{Topic: makeTopic(t, e, "orders", 2).ID, Index: 1}
	edit := func(name, value string) {
		t.Helper()
		if err := e.EditConfig(noWait, "orders", []meta.ConfigEdit{{Name: name, Op: meta.EditSet, Value: value}}, false); err != nil {
			t.Fatal(err)
		}
	}
	edit(meta.MaxMessageBytes, "200")
	big := newBatch(-1, -1, string(make([]byte, 300)))
	if a := appendNow(e, id, big); !errors.Is(a.Err, ErrTooLarge) {
		t.Errorf("a large batch: %v", a.Err)
	}
	edit(meta.TimestampType, "LogAppendTime")
	for restart := range 3 {
		if a := appendNow(e, id, newBatch(-1, -1, "small")); a.Err != nil || a.LogAppendTime < 0 {
			t.Errorf("restart %d: %+v", restart, a)
		}
		if a := appendNow(e, id, big); !errors.Is(a.Err, ErrTooLarge) {
			t.Errorf("restart %d: a large batch: %v", restart, a.Err)
		}
		if restart == 0 { // the journal alone knows of the change
			c.FS = crashed(c.FS.(*vfs.Mem))
		} else {
			e.Close()
		}
		e = openWith(t, c)
	}
	if err := e.ReplaceConfig(noWait, "orders", nil, false); err != nil {
		t.Fatal(err)
	}
	if a := appendNow(e, id, big); a.Err != nil || a.LogAppendTime != -1 {
		t.Errorf("back to the defaults: %+v", a)
	}
	if v := batch.View(fetchNow(e, id, 3).Records[0]); v.LogAppendTime() {
		t.Error("the batch says LogAppendTime")
	}
	if err := e.EditConfig(noWait, "none", nil, false); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("an unknown topic: %v", err)
	}
}
