package story_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/story"
)

type reading struct{ V string }

var (
	taken   = tidings.Define[reading]("plant.reading.taken", tidings.In("plant", tidings.Partitions(1)))
	checked = tidings.Define[reading]("plant.reading.checked", tidings.In("plant"))
)

// TestEventsOfOtherProgramsHaveStories writes events as other programs do: those of two meters in binary mode, which
// use the same ids, and one in structured mode. Each event must be handled, and must have the event that followed from
// it below it in the story.
func TestEventsOfOtherProgramsHaveStories(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	run(t, conn, "checks", func(a *tidings.App) {
		tidings.React(a, taken, func(ctx context.Context, e tidings.Event[reading]) error {
			_, err := checked.Emit(ctx, e.Data)
			return err
		})
	})
	produceForeign(t, conn)
	if err := x.WaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}

	s, err := x.Story(t.Context(), "m/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := make(map[string]bool)
	for _, root := range s.Roots {
		roots[root.Source+" "+root.ID] = true
		if len(root.Children) != 1 || root.Children[0].Type != checked.Name() || root.Obligations[0].State != story.Handled {
			t.Errorf("%s %s: %+v", root.Source, root.ID, root)
		}
	}
	if len(roots) != 6 || s.Standing != story.StandingSettled {
		t.Errorf("%d roots, %s: %s", len(roots), s.Standing, s.Sentence)
	}
	if s, err = x.Story(t.Context(), "1", nil); err != nil || len(s.Roots) != 2 {
		t.Errorf("the id of two events leads to %d, %v", len(s.Roots), err)
	}
	if s, err = x.Story(t.Context(), "st-1", nil); err != nil || len(s.Roots) != 1 || s.Roots[0].Source != "/py" || len(s.Roots[0].Children) != 1 {
		t.Errorf("structured mode: %+v, %v", s, err)
	}
}

// produceForeign produces the events of two meters, and one event in structured mode.
func produceForeign(t *testing.T, conn tidings.Connection) {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("..", "internal", "cloudevent", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	records := []*kgo.Record{{Topic: "plant", Value: read("structured.json"), Headers: []kgo.RecordHeader{
		{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}}}
	for lines := bufio.NewScanner(bytes.NewReader(read("two-sources.jsonl"))); lines.Scan(); {
		var line struct {
			Key   string
			CE    map[string]string
			Value json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: "plant", Key: []byte(line.Key), Value: line.Value}
		for name, value := range line.CE {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + name, Value: []byte(value)})
		}
		records = append(records, r)
	}
	if err := client(t, conn).ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
