package story_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/embedded"
	"tidings.dev/story"
)

// The fetch of an indexer that has nothing to read waits for a long time. A topic that is created meanwhile is read long before
// that, and so is another.
func TestANewTopicIsReadWhileAFetchWaits(t *testing.T) {
	defer story.SetFetchMaxWait(5 * time.Minute)()
	conn := embedded.WithoutStory(embedded.Memory())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kcl := client(t, conn)
	adm := kadm.NewClient(kcl)
	write := func(topic string) {
		t.Helper()
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		if err := kcl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	write("there")
	ix := index(t, conn, filepath.Join(t.TempDir(), "index"), false).Index()
	read := int64(0)
	for _, topic := range []string{"", "first", "second"} {
		if topic != "" {
			write(topic)
		}
		read++
		if err := ix.Wait(ctx, func(s story.Stats) bool { return s.Events >= read }); err != nil {
			t.Fatalf("an event of the topic %q: %v", topic, err)
		}
	}
}
