package story_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tidings.dev/embedded"
	"tidings.dev/story"
)

// TestRebuiltIndexReadsTheLogAgain has an index found wrong while neither connections nor topics change: all that the log
// has must be in the index again.
func TestRebuiltIndexReadsTheLogAgain(t *testing.T) {
	t.Parallel()
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), false)
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	emitted := int64(0)
	for range 3 { // the listing of topics is the same from the second time on
		if _, err := placed.Emit(ctx, order{"1"}); err != nil {
			t.Fatal(err)
		}
		emitted++
		if err := x.Index().Wait(ctx, func(s story.Stats) bool { return s.Events == emitted }); err != nil {
			t.Fatalf("%d events were emitted, the index has %+v: %v", emitted, x.Index().Stats(), err)
		}
		x.FindMisfit()
	}
}
