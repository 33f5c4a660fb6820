package jsonfields_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings.dev/internal/jsonfields"
)

func TestAll(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:                      ``,
		` { } `:                   ``,
		`[{"a":1}]`:               ``,
		`null`:                    ``,
		`"{"`:                     ``,
		``:                        ``,
		`{"a":1}`:                 `a=1 `,
		` { "a" : 1 , "b":"x" } `: `a=1 b="x" `,
		`{"a":{"b":[1,{"c":"}"}]},"d":[[]],"e":null}`: `a={"b":[1,{"c":"}"}]} d=[[]] e=null `,
		`{"a\"}":"\\","\u0062":"\"","a\"}":-1.5e3}`:   `a"}="\\" b="\"" a"}=-1.5e3 `,
		"{\n\t\"é\" :\r\n true\n}":                    `é=true `,
	} {
		var got strings.Builder
		for name, value := range jsonfields.All([]byte(data)) {
			fmt.Fprintf(&got, "%s=%s ", name, value)
		}
		if got.String() != want {
			t.Errorf("%s: %q, want %q", data, got.String(), want)
		}
	}
}

// What encoding/json takes for an object with fields has the same ones here, and nothing makes All panic.
func FuzzAll(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1]},"c":"\"}"}`, `[1]`, `{"a":1,"a":2}`, ` {"\u00e9" : null }`, `{"a`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string]any{}
		valid := json.Valid(data) && utf8.Valid(data)
		for name, value := range jsonfields.All(data) {
			if !valid {
				continue
			}
			var v any
			if err := json.Unmarshal(value, &v); err != nil {
				t.Fatalf("%q: the value %q: %v", data, value, err)
			}
			got[string(name)] = v
		}
		want := map[string]any{}
		if valid && json.Unmarshal(data, &want) == nil && want != nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, want %v", data, got, want)
		}
	})
}
