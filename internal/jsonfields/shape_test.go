package jsonfields_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/jsonfields"
)

type base struct {
	ID    string
	Twice string
}

type Other struct{ Twice string }

type line struct {
	SKU string `json:"sku"`
	N   int    `json:"n"`
}

type booking struct {
	base
	*Other
	Pence   int             `json:"pence"`
	Note    string          `json:"note,omitempty"`
	At      time.Time       `json:"at"`
	Raw     json.RawMessage `json:"raw"`
	Any     map[string]line `json:"any"`
	Lines   []line          `json:"lines"`
	Ignored string          `json:"-"`
	//lint:ignore SA5008 the name "-" is what encoding/json makes of it
	Dash    string   `json:"-,"`
	Next    *booking `json:"next,omitempty"`
	private int
}

const whole = `{"ID":"1","pence":5,"at":"2026-01-02T03:04:05Z","raw":{"x":1},"any":{"x":{"y":1}},"lines":[{"sku":"a","n":1}],"-":"d"}`

func TestShapeCompares(t *testing.T) {
	shape := jsonfields.ShapeOf(reflect.TypeFor[*booking]())
	_ = booking{}.private
	for change, want := range map[string]string{
		"":                           "[] []",
		`"pence" > "amount"`:         "[amount] [pence]",
		`"pence" > "PENCE"`:          "[] []",
		`"ID" > "id"`:                "[] []",
		`"sku" > "item"`:             "[lines.item] [lines.sku]",
		`[{"sku":"a","n":1}] > []`:   "[] []",
		`[{"sku":"a","n":1}] > null`: "[] []",
		`"-":"d" > "-":"d","Ignored":"x","private":1`: "[Ignored private] []",
		`"-":"d" > "-":"d","Twice":"x"`:               "[Twice] []", // two of one name at one depth: none
		`"-":"d" > "-":"d","next":{"ID":"2"}`:         "[] [next.- next.any next.at next.lines next.pence next.raw]",
		`"-":"d" > "-":"d","next":null,"note":""`:     "[] []",
		`,"-":"d" > `: "[] [-]",
	} {
		from, to, _ := strings.Cut(change, " > ")
		data := whole
		if change != "" {
			data = strings.Replace(whole, from, to, 1)
		}
		var v booking
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatal(data, err)
		}
		d := shape.Compare([]byte(data))
		if got := fmt.Sprint(d.Unknown, d.Missing); got != want || d.None() != (want == "[] []") {
			t.Errorf("%s: %s, want %s", change, got, want)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[map[string]int](), reflect.TypeFor[any](), reflect.TypeFor[[]line](),
		reflect.TypeFor[json.RawMessage](), reflect.TypeFor[struct{ json.RawMessage }](), reflect.TypeFor[int]()} {
		if d := jsonfields.ShapeOf(of).Compare([]byte(`{"x":1}`)); !d.None() {
			t.Errorf("%v: %v", of, d)
		}
	}
}

// What encoding/json writes of a type has all the fields of its shape and no other, and with DisallowUnknownFields it decodes
// exactly what has no unknown ones.
func TestShapeIsThatOfEncodingJSON(t *testing.T) {
	type odd struct {
		A     int `json:"a"`
		Upper int `json:"ABC"`
		Long  int `json:"ſtrange"` // folds to an s
		//lint:ignore SA5008 encoding/json ignores such a name, and so must the shape
		Bad   int `json:"a\"b"`
		Empty int `json:",omitempty"`
		*base
		line `json:"line"`
	}
	shape := jsonfields.ShapeOf(reflect.TypeFor[odd]())
	encoded, err := json.Marshal(odd{base: &base{}})
	if err != nil {
		t.Fatal(err)
	}
	if d := shape.Compare(encoded); !d.None() {
		t.Errorf("%s: %v", encoded, d)
	}
	for _, name := range []string{"a", "A", "abc", "aBc", "strange", "STRANGE", "Bad", "bad", "empty", "id", "twice", "line", "sku", "SKU", "base", `a\"b`, "é"} {
		data := []byte(`{"` + name + `":null}`)
		strict := json.NewDecoder(strings.NewReader(string(data)))
		strict.DisallowUnknownFields()
		known := strict.Decode(&odd{base: &base{}}) == nil
		if d := shape.Compare(data); (len(d.Unknown) == 0) != known {
			t.Errorf("%s: encoding/json knows it: %v; %v", name, known, d.Unknown)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("unmarshal", func(b *testing.B) {
		for b.Loop() {
			var v booking
			if err := json.Unmarshal([]byte(whole), &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compare", func(b *testing.B) {
		shape := jsonfields.ShapeOf(reflect.TypeFor[booking]())
		for b.Loop() {
			if d := shape.Compare([]byte(whole)); !d.None() {
				b.Fatal(d)
			}
		}
	})
}
