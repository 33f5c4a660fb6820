package cli

import (
	"testing"
	"time"
)

func TestJSONFaultNamesTheColumn(t *testing.T) {
	for data, column := range map[string]int{
		`{"a":1,}`: 8,
		`{"a"`:     5,
		`é{`:       1,
		`["é", x]`: 7,
		`{} {}`:    4,
	} {
		if got := jsonFault([]byte(data)); got.column != column {
			t.Errorf("%s: column %d (%v), want %d", data, got.column, got.err, column)
		}
	}
}

func TestSubjectTakesFields(t *testing.T) {
	data := []byte(`{"no":"7","n":8,"deep":{},"none":null}`)
	for pattern, want := range map[string]string{"order/7": "order/7", "order/{no}": "order/7", "{no}-{n}": "7-8", "": ""} {
		if got, err := fillSubject(pattern, data); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"{missing}", "{deep}", "{none}"} {
		if got, err := fillSubject(pattern, data); err == nil {
			t.Errorf("%s: %q, want an error", pattern, got)
		}
	}
	if _, err := fillSubject("{no}", []byte(`[]`)); err == nil {
		t.Error("a field of a list: no error")
	}
}

func TestPlacesInALog(t *testing.T) {
	now := time.Date(2010, 12, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]logPlace{
		"earliest":             {earliest: true},
		"latest":               {latest: true},
		"42":                   {offset: 42},
		"90m":                  {at: now.Add(-90 * time.Minute)},
		"2010-12-01T08:26:00Z": {at: time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)},
		"2010-12-01":           {at: time.Date(2010, 12, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if got, err := parsePlace(s, now); err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "soon", "-5m"} {
		if got, err := parsePlace(s, now); err == nil {
			t.Errorf("%q: %+v, want an error", s, got)
		}
	}
}

// Case: a seek back repeats, a seek ahead skips, and a group without a position stands at the beginning.
func TestMovesSayWhatTheyCost(t *testing.T) {
	for _, c := range []struct{ from, to, start, repeat, skip int64 }{
		{10, 4, 0, 6, 0}, {10, 25, 0, 0, 15}, {-1, 5, 0, 0, 5}, {-1, 3, 3, 0, 0}, {2, 5, 5, 0, 0},
	} {
		m := makeMove("t", 0, c.from, c.to, c.start)
		if m.Repeat != c.repeat || m.Skip != c.skip {
			t.Errorf("from %d to %d of a log from %d: repeats %d, skips %d; want %d, %d", c.from, c.to, c.start, m.Repeat, m.Skip, c.repeat, c.skip)
		}
	}
}
