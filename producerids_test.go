package tidings_test

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/vfs"
)

// disk returns the file system of a directory; it is closed at the end of the test.
func disk(t *testing.T, dir string) vfs.FS {
	t.Helper()
	d, err := vfs.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.(io.Closer).Close() })
	return d
}

// backUp takes a backup of the stopped broker's directory. The function that it returns starts a broker on a restored one.
func (c *cutOff) backUp() (restore func()) {
	c.t.Helper()
	store, err := backup.Create(disk(c.t, c.t.TempDir()))
	if err != nil {
		c.t.Fatal(err)
	}
	source, err := backup.AtRest(c.t.Context(), c.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
	taken, err := store.Take(c.t.Context(), source.FS, source.Dir, source.Snapshot, backup.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := source.Close(); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		m, err := store.Load(taken.Name)
		if err != nil {
			c.t.Fatal(err)
		}
		c.kept = c.t.TempDir()
		if err := store.Restore(c.t.Context(), m, disk(c.t, c.kept), nil); err != nil {
			c.t.Fatal(err)
		}
		c.cut()
	}
}

// emitter returns a function that emits an event by an app of its own and returns the event's offset.
func (c *cutOff) emitter(name string) (send func(value string) int64) {
	app := open(c.t, name, c)
	return func(value string) int64 {
		c.t.Helper()
		r, err := filed.Emit(app.Context(c.t.Context()), value)
		if err != nil {
			c.t.Fatal(err)
		}
		return r.Offset
	}
}

// producer returns a function that appends a record by a stock client of its own and returns the record's offset.
func (c *cutOff) producer() (send func(value string) int64) {
	cl := client(c.t, c)
	return func(value string) int64 {
		c.t.Helper()
		r, err := cl.ProduceSync(c.t.Context(), &kgo.Record{Topic: filed.Topic(), Value: []byte(value)}).First()
		if err != nil {
			c.t.Fatal(err)
		}
		return r.Offset
	}
}

// Somebody puts one state of the log in place twice. Producers that have begun in between go on, and others begin. What is acknowledged to
// them is in the log: the records of one are not taken for those of another.
func TestProducersAreNotTakenForOthersWhenTheLogGoesBack(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"copy", "backup"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
			t.Cleanup(func() { where.stop(t) })
			where.start(t)
			where.emitter("before")("before")
			where.stop(t)
			var back func()
			if by == "backup" {
				back = where.backUp()
			} else {
				where.keep()
				original := where.kept
				back = func() { where.dir = original; where.keep(); where.cut() }
			}

			back()
			first := []func(string) int64{where.emitter("first"), where.producer()}
			for i := range 3 {
				for _, send := range first {
					send(fmt.Sprint("lost ", i))
				}
			}
			back()
			second := []func(string) int64{where.emitter("second"), where.producer()}
			acknowledged := map[int64]string{}
			for i := range 6 {
				for n, send := range second {
					value := fmt.Sprintf("of second %d: %d", n, i)
					acknowledged[send(value)] = value
				}
			}
			for i := range 3 {
				for n, send := range first {
					value := fmt.Sprintf("of first %d: %d", n, i)
					acknowledged[send(value)] = value
				}
			}
			for _, r := range dump(t, where, filed.Topic()) {
				if value := strings.Trim(string(r.Value), `"`); value != acknowledged[r.Offset] && value != "before" {
					t.Errorf("at %d is %q, and %q was acknowledged there", r.Offset, value, acknowledged[r.Offset])
				}
			}
			if len(acknowledged) != 18 {
				t.Errorf("18 records have %d offsets: %v", len(acknowledged), acknowledged)
			}
		})
	}
}
