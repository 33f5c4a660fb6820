package client

import (
	"testing"
	"time"
)

func TestOffsetSpecs(t *testing.T) {
	now := time.Date(2010, 12, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]offsetSpec{
		"earliest":             {earliest: true},
		"latest":               {latest: true},
		"42":                   {offset: 42},
		"90m":                  {at: now.Add(-90 * time.Minute)},
		"2010-12-01T08:26:00Z": {at: time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)},
		"2010-12-01":           {at: time.Date(2010, 12, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if got, err := parseOffsetSpec(s, now); err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "soon", "-5m"} {
		if got, err := parseOffsetSpec(s, now); err == nil {
			t.Errorf("%q: %+v, want an error", s, got)
		}
	}
}
