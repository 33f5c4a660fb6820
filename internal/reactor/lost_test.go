package reactor

import (
	"strings"
	"testing"
)

// The text of a loss names a few ranges, and how many others there are.
func TestALossNamesItsRanges(t *testing.T) {
	for _, c := range []struct {
		ranges [][2]int64
		text   string
	}{
		{[][2]int64{{5, 15}}, "deleted offsets 5–14 of a/0"},
		{[][2]int64{{5, 6}}, "deleted offsets 5 of a/0"},
		{[][2]int64{{5, 6}, {8, 10}, {11, 12}}, "deleted offsets 5, 8–9, 11 of a/0"},
		{[][2]int64{{5, 6}, {8, 10}, {11, 12}, {20, 22}, {30, 33}}, "deleted offsets 5, 8–9, 11 and 2 more ranges up to 32 of a/0"},
	} {
		e := &Lost{Reaction: "r", Topic: "a", From: c.ranges[0][0], To: c.ranges[len(c.ranges)-1][1], Ranges: c.ranges}
		if !strings.Contains(e.Error(), c.text) {
			t.Errorf("%s, want %s", e, c.text)
		}
	}
}
