package client

import (
	"strings"
	"testing"
)

func TestJSONErrorsNameTheColumn(t *testing.T) {
	for data, column := range map[string]int{
		`{"a":1,}`: 8,
		`{"a"`:     5,
		`é{`:       1,
		`["é", x]`: 7,
		`{} {}`:    4,
	} {
		if got := checkJSON([]byte(data)); got.column != column {
			t.Errorf("%s: column %d (%v), want %d", data, got.column, got.err, column)
		}
	}
}

func TestJSONMustBeUTF8(t *testing.T) {
	for data, column := range map[string]int{
		"{\"Name\":\"caf\xe9\"}": 13,
		"{\"é\":\"\xff\"}":       7,
		"{\"a\":\"\xc0\xaf\"}":   7, // a slash in two bytes
		"{\"a\":\"\xed\xa0\x80":  7, // half a surrogate pair
		"\xe2\x82":               1,
	} {
		if got := checkJSON([]byte(data)); got == nil || got.column != column || !strings.Contains(got.Error(), "UTF-8") {
			t.Errorf("%q: %v, want column %d", data, got, column)
		}
	}
	for _, data := range []string{`{"a":"é"}`, `"\ufffd"`, "\"\ufffd\"", `1`} {
		if got := checkJSON([]byte(data)); got != nil {
			t.Errorf("%q: %v", data, got)
		}
	}
}

func TestSubjectTakesFields(t *testing.T) {
	data := []byte(`{"no":"7","n":8,"deep":{},"none":null}`)
	for pattern, want := range map[string]string{"order/7": "order/7", "order/{no}": "order/7", "{no}-{n}": "7-8", "": ""} {
		if got, err := parseSubject(pattern).fill(data); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"{missing}", "{deep}", "{none}"} {
		if got, err := parseSubject(pattern).fill(data); err == nil {
			t.Errorf("%s: %q, want an error", pattern, got)
		}
	}
	if _, err := parseSubject("{no}").fill([]byte(`[]`)); err == nil {
		t.Error("a field of a list: no error")
	}
}
