package jsonfields_test

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/jsonfields"
)

// address is a struct within others.
type address struct {
	Street string `json:"street"`
	Number uint16 `json:"number"`
}

// purchase has fields of all kinds that a Decoder tells apart.
type purchase struct {
	ID       string  `json:"id"`
	Quantity int     `json:"quantity"`
	Small    int8    `json:"small"`
	Count    uint64  `json:"count"`
	Rate     float64 `json:"rate"`
	Weight   float32 `json:"weight,omitempty"`
	Paid     bool
	To       address         `json:"to"`
	At       time.Time       `json:"at"`
	Raw      json.RawMessage `json:"raw"`
	Lines    []line          `json:"lines"`
	Tags     []string        `json:"tags"`
	Grid     [][]int8        `json:"grid"`
	Bytes    []byte          `json:"bytes"`
	Times    []time.Time     `json:"times"`
	Several  []any           `json:"several"`
	Pair     [2]int          `json:"pair"`
	Next     *address        `json:"next"`
	Sum      big.Int         `json:"sum"`
	From     netip.Addr      `json:"from"`
	Exact    json.Number     `json:"exact"`
	Note     any             `json:"note"`
	Skipped  string          `json:"-"`
	Häuser   string
	hidden   string //lint:ignore U1000 fields that are not exported are in types, and are not decoded
}

// documents are JSON, and what is nearly JSON, of which a purchase is read.
var documents = []string{
	`{"id":"7","quantity":-3,"small":-128,"count":9999999999999999999,"rate":1.5e3,"weight":0.1,"Paid":true,"to":{"street":"Hill","number":65535}}`,
	` { "quantity" : 0 , "id" : "" , "to" : { } } `, `{}`, `{"id":"é","Häuser":"ß"}`, `{"id":"a\"b\u00e9\ud83d\ude00\ud800","note":{"a":[1]}}`,
	`{"at":"2026-11-30T14:00:00Z","raw": {"a" : 1} ,"lines":[{"sku":"x"},null],"next":{"street":"s"},"sum":123456789012345678901,"from":"::1","exact":1.0}`,
	`{"id":null,"quantity":null,"to":null,"at":null,"raw":null,"lines":null,"next":null,"note":null,"Paid":null,"rate":null,"sum":null}`,
	`{"lines":[],"tags":[ ] }`, `{"lines": [ { "sku" : "a" , "quantity" : 2 } , { } , {"quantity":-1} ] , "tags":["a","\u0062",null],"grid":[[1],[],null,[-128,127]]}`,
	`{"bytes":"aGk=","times":["2026-11-30T14:00:00Z",null],"several":[1,"a",{}],"pair":[1,2,3],"lines":null,"tags":null}`,
	`{"lines":[{"sku":"a","quantity":2}],"lines":[{"sku":"b"}]}`, `{"tags":["a","b"],"tags":["c"]}`, `{"tags":["a"],"tags":null}`, `{"tags":[],"tags":null}`,
	`{"tags":["a",]}`, `{"tags":[,]}`, `{"tags":["a"`, `{"tags":["a",`, `{"tags":[`, `{"tags":["a" "b"]}`, `{"tags":"a"}`, `{"tags":{}}`, `{"tags":[1]}`, `{"tags":nul}`, `{"grid":[[128]]}`,
	`{"grid":[[1],[2]],"grid":[[3,4]]}`, `{"lines":[{"sku":1}]}`, `{"lines":{"sku":"a"}}`, `{"lines":[[]]}`, `{"lines":[{"more":1}]}`, `{"tags":[]]}`,
	`{"ID":"case","QUANTITY":1}`, `{"id":"1","id":"2"}`, `{"to":{"street":"a"},"to":{"number":1}}`, `{"Id":"1","id":"2"}`, `{"ſmall":1}`,
	`{"unknown":{"a":[1,2,{"b":"}"}]},"id":"x","more":[],"and":-1.5e-7,"t":true}`, `{"unknown":01}`, `{"unknown":[}`, `{"unknown":}`, `{"unknown":tru}`,
	`{"quantity":1.0}`, `{"quantity":1e2}`, `{"quantity":01}`, `{"quantity":-}`, `{"quantity":-0}`, `{"quantity":"1"}`, `{"quantity":9223372036854775807}`,
	`{"quantity":9223372036854775808}`, `{"quantity":-9223372036854775808}`, `{"quantity":-9223372036854775809}`, `{"small":128}`, `{"small":-129}`,
	`{"count":18446744073709551615}`, `{"count":18446744073709551616}`, `{"count":-1}`, `{"count":10000000000000000000000}`, `{"to":{"number":65536}}`,
	`{"rate":1e400}`, `{"weight":1e39}`, `{"rate":.5}`, `{"rate":1.}`, `{"rate":-0.0}`, `{"Paid":1}`, `{"Paid":truex}`, `{"Paid":false}`,
	"{\"id\":\"\xff\"}", "{\"id\":\"\x01\"}", `{"id":"`, `{"id":"x"`, `{"id":"x"}}`, `{"id":"x"}x`, `{"id":"x",}`, `{,}`, `{"id" "x"}`, `{"id":}`, `{id:1}`, `[]`, `null`, `1`, ``, ` `,
	`{"to":[]}`, `{"to":1}`, `{"at":"yesterday"}`, `{"next":1}`, `{"from":"x"}`, `{"exact":"x"}`, `{"exact":"1"}`, `{"id":{"a":1}}`, `{"id":1}`, `{"\u0069d":"x"}`, `{"":"x"}`, `{"-":"x"}`, `{"hidden":"x"}`,
	`{"note":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`, `{"note":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
	`{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, `{"id":"` + strings.Repeat("long ", 100) + `","quantity":1}`,
}

// decodesAs fails the test if a Decoder decodes data otherwise than encoding/json does. It reports whether it decodes it.
func decodesAs[T any](t *testing.T, data []byte) bool {
	t.Helper()
	var got, want T
	before := string(data)
	decoded := jsonfields.DecoderOf(reflect.TypeFor[T]()).Decode(data, &got)
	if string(data) != before {
		t.Fatalf("%q was changed to %q", before, data)
	}
	if !decoded {
		return false
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Errorf("%q is decoded as %+v, want the error %v", data, got, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%q is decoded as %+v, want %+v", data, got, want)
	}
	return true
}

// Case: the same as encoding/json makes of it, or nothing; and it is not left to encoding/json what is plain.
func TestDecoderDecodesAsEncodingJSON(t *testing.T) {
	for _, d := range documents {
		decodesAs[purchase](t, []byte(d))
		decodesAs[address](t, []byte(d))
	}
	for i, d := range documents[:10] {
		if !decodesAs[purchase](t, []byte(d)) {
			t.Errorf("number %d is not decoded: %s", i, d)
		}
	}
}

// Case: types that a Decoder leaves alone.
func TestDecoderOfOtherTypes(t *testing.T) {
	type embeds struct {
		address
		ID string
	}
	type quoted struct {
		N int `json:",string"`
	}
	type maps struct {
		A, B map[string]string
		C    string
	}
	type recursive struct {
		ID    string
		Inner []recursive
	}
	for _, v := range []any{embeds{}, quoted{}, maps{}, 1, map[string]int{}, json.RawMessage{}, time.Time{}, &address{}} {
		if jsonfields.DecoderOf(reflect.TypeOf(v)) != nil {
			t.Errorf("there is a decoder of %T", v)
		}
	}
	if !decodesAs[recursive](t, []byte(`{"ID":"1","Inner":[{"ID":"2","Inner":[]}]}`)) {
		t.Error("a type that contains itself is not decoded")
	}
}

// Whatever a Decoder decodes, it decodes as encoding/json does.
func FuzzDecoder(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decodesAs[purchase](t, data)
		decodesAs[address](t, data)
	})
}

// ordered is the data of an event with a list.
type ordered struct {
	ID       string `json:"id"`
	Quantity int    `json:"quantity"`
	Pence    int    `json:"pence"`
	Due      int64  `json:"due,omitempty"`
	Note     string `json:"note"`
	Lines    []line `json:"lines,omitempty"`
}

func BenchmarkDecoder(b *testing.B) {
	const plain = `{"id":"00001234","quantity":11,"pence":319,"note":"WHITE HANGING HEART T-LIGHT HOLDER WHITE HANGI"`
	d := jsonfields.DecoderOf(reflect.TypeFor[ordered]())
	for name, data := range map[string][]byte{
		"plain":    []byte(plain + `}`),
		"20 lines": []byte(plain + `,"lines":[{"sku":"85123A","n":6}` + strings.Repeat(`,{"sku":"84406B","n":8}`, 19) + `]}`),
	} {
		b.Run(name+"/decoder", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var o ordered
				if !d.Decode(data, &o) {
					b.Fatal("not decoded")
				}
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var o ordered
				if err := json.Unmarshal(data, &o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
