package jsonfields

import (
	"encoding/json"
	"strings"
	"testing"
)

var validityCases = []string{
	``, ` `, `1`, ` 1 `, `-0`, `-`, `01`, `1.`, `1.5`, `.5`, `1e`, `1e+`, `1E-9`, `1e5x`, `true`, `tru`, `truex`, `null`, `nul`, `false`,
	`"`, `""`, `"a`, `"a"b`, `"\"`, `"\""`, `"\u12"`, `"\u12aF"`, `"\u12g4"`, `"\x"`, "\"\x1f\"", "\"\t\"", "\"caf\xe9\"", "\"\x80\x7f\"",
	`{}`, `{ }`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a" : 1 , "b" : [ ] }`, `{1:2}`, `{"a":1]`,
	`[]`, `[ ]`, `[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[[],[{}]]`, `[1}`, `{} {}`, "\n[\r\n\t1]\n", "\v1", "\xef\xbb\xbf1", "1\x00",
	`"12345678"`, `"1234567\n"`, "\"1234567\x00\"", `"123456789012345\"678"`, "\"1234567\xff!\"", "\"!\x1f\x1f\x1f!!!!\"", `"!""!""!"`,
	strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
	strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
	strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth),
	strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1),
	strings.Repeat("[", maxDepth) + `{}` + strings.Repeat("]", maxDepth),
}

// Case: Valid and json.Valid agree, about whole values and about all that are cut off or have one byte more.
func TestValidIsThatOfEncodingJSON(t *testing.T) {
	agree := func(data string) {
		if got, want := Valid([]byte(data)), json.Valid([]byte(data)); got != want {
			t.Errorf("%.60q: %v, json.Valid has %v", data, got, want)
		}
	}
	for _, data := range validityCases {
		agree(data)
		if len(data) < 100 {
			for i := range data {
				for _, c := range "\"\\{}[],:0e.-tn \x1f\x7f" {
					agree(data[:i] + string(c) + data[i:])
				}
				agree(data[:i])
				agree(data[i:])
			}
		}
	}
}

func FuzzValidIsThatOfEncodingJSON(f *testing.F) {
	for _, data := range validityCases {
		if len(data) < 100 {
			f.Add([]byte(data))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := Valid(data), json.Valid(data); got != want {
			t.Errorf("%q: %v, json.Valid has %v", data, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"no":"536365","customer":"c17850","pence":13912,"lines":[{"sku":"A-85123","n":6},{"sku":"A-71053","n":6}],"note":"` +
		strings.Repeat("lorem ipsum ", 80) + `"}`)
	for name, valid := range map[string]func([]byte) bool{"here": Valid, "encoding": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if !valid(data) {
					b.Fatal("it is valid")
				}
			}
		})
	}
}
