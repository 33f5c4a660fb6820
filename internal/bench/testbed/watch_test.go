package testbed

import "testing"

func TestProgressLine(t *testing.T) {
	var l progressLine
	for i, c := range []struct {
		stage string
		done  int64
		want  string
	}{
		{"", 0, ""},
		{"fill", 1000, "fill"},             // the first count of a stage is no rate
		{"fill", 3500, "fill  5,000/s"},    // 2,500 in half a second
		{"broker", 100, "broker"},          // another stage counts from its own beginning
		{"broker", 600, "broker  1,000/s"}, // as before
		{"broker", 0, "broker"},            // the count has begun again
	} {
		if got := l.next(c.stage, c.done); got != c.want {
			t.Errorf("line %d is %q, want %q", i, got, c.want)
		}
	}
}
