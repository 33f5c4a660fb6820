package shell

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

type wine struct {
	Name  string         `json:"name"`
	Year  int            `json:"year"`
	Tags  []string       `json:"tags"`
	More  map[string]any `json:"more"`
	Notes []struct {
		Who string `json:"who"`
		At  int    `json:"at"`
	} `json:"notes"`
}

func TestYAMLHasWhatJSONHas(t *testing.T) {
	w := wine{Name: "Rioja: the \"red\"\none", Year: 2019, Tags: []string{}, More: map[string]any{"no": "no", "n": nil, "deep": map[string]any{"x": 1.5}}}
	w.Notes = append(w.Notes, struct {
		Who string `json:"who"`
		At  int    `json:"at"`
	}{"ann", 1})
	var b bytes.Buffer
	if err := NewOutput(&b, FormatYAML).YAML([]wine{w}); err != nil {
		t.Fatal(err)
	}
	want := `- name: "Rioja: the \"red\"\none"
  year: 2019
  tags: []
  more:
    deep:
      x: 1.5
    "n": null
    "no": "no"
  notes:
    - who: ann
      at: 1
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFormatsOfAList(t *testing.T) {
	wines := []wine{{Name: "a\tb"}, {Name: "c\x1b[2J"}}
	row := func(w wine) []string { return []string{w.Name, "x"} }
	for f, want := range map[Format]string{
		// Case: off a terminal there is no head, and no cell can hold a tab or move the cursor.
		FormatAuto:  "a\\tb\tx\nc\\x1b[2J\tx\n",
		FormatTable: "NAME      X\na\\tb      x\nc\\x1b[2J  x\n",
	} {
		var b bytes.Buffer
		if err := List(NewOutput(&b, f), []string{"NAME", "X"}, wines, row); err != nil || b.String() != want {
			t.Errorf("%q: %q %v, want %q", f, b.String(), err, want)
		}
	}
	for _, f := range []Format{FormatJSON, FormatJSONL} {
		var b bytes.Buffer
		if err := List(NewOutput(&b, f), nil, wines, row); err != nil {
			t.Fatal(err)
		}
		var got []wine
		if f == FormatJSON {
			if err := json.Unmarshal(b.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
		} else {
			for dec := json.NewDecoder(&b); ; {
				var w wine
				if err := dec.Decode(&w); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, w)
			}
		}
		if len(got) != 2 || got[0].Name != "a\tb" {
			t.Errorf("%s: %+v", f, got)
		}
	}
	// Case: nothing is an empty list, not null.
	var b bytes.Buffer
	if err := List(NewOutput(&b, FormatJSON), nil, []wine(nil), row); err != nil || b.String() != "[]\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}
