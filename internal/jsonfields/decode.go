package jsonfields

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decoder decodes JSON objects into a struct type as [json.Unmarshal] does, in one pass and several times as fast. It decodes only what
// is plain, such as strings, numbers, booleans, and structs and lists of those, and leaves the values of other fields to encoding/json.
// What it is not sure about it does not decode at all. It is immutable.
type Decoder struct {
	fields []plainField
	byName map[string]int // index in fields
	shape  *Shape
}

// plainField is how a field of a struct is decoded.
type plainField struct {
	name  string
	index int // of the field in the struct
	as    plainKind
	inner *Decoder    // of asObject
	elem  *plainField // of asList; without name and index
}

// plainKind is the kind of a Go value that is decoded without encoding/json.
type plainKind int

const (
	asString plainKind = iota
	asInt
	asUint
	asFloat
	asBool
	asObject
	asList   // a slice
	asItself // its UnmarshalJSON
	asOther  // json.Unmarshal
)

// DecoderOf returns a decoder for a type. It returns nil if the type is no struct or decodes itself, and for a struct that embeds
// others, has a field with the tag option string, or has mostly fields that a Decoder would leave to encoding/json.
func DecoderOf(t reflect.Type) *Decoder { return decoderOf(t, nil) }

// decoderOf is DecoderOf for a type within others. It returns nil if the type is one of them, too.
func decoderOf(t reflect.Type, outer []reflect.Type) *Decoder {
	if t.Kind() != reflect.Struct || decodesItself(t) || slices.Contains(outer, t) {
		return nil
	}
	d := &Decoder{byName: make(map[string]int), shape: ShapeOf(t)}
	others := 0
	for i := range t.NumField() {
		if t.Field(i).Anonymous || strings.Contains(t.Field(i).Tag.Get("json"), ",string") {
			return nil
		}
	}
	for _, f := range structFields(t) {
		p := plainFieldOf(f.Type, append(outer, t))
		p.name, p.index = f.name, f.Index[0]
		if p.as == asOther {
			others++
		}
		d.byName[f.name] = len(d.fields)
		d.fields = append(d.fields, p)
	}
	if 2*others > len(d.fields) {
		return nil
	}
	return d
}

// plainFieldOf returns how values of a type within others are decoded.
func plainFieldOf(t reflect.Type, outer []reflect.Type) plainField {
	p := plainField{as: plainKindOf(t)}
	switch p.as {
	case asObject:
		if p.inner = decoderOf(t, outer); p.inner == nil {
			p.as = asOther
		}
	case asList:
		elem := plainFieldOf(t.Elem(), outer)
		if p.elem = &elem; elem.as == asOther {
			p.as = asOther
		}
	}
	return p
}

// plainKindOf returns by what values of a type are decoded.
func plainKindOf(t reflect.Type) plainKind {
	switch p := reflect.PointerTo(t); {
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return asOther
	case p.Implements(decodesJSON) && !t.Implements(decodesJSON):
		return asItself
	case decodesItself(t):
		return asOther
	}
	switch t.Kind() {
	case reflect.String:
		if t == reflect.TypeFor[json.Number]() {
			return asOther
		}
		return asString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return asInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return asUint
	case reflect.Float32, reflect.Float64:
		return asFloat
	case reflect.Bool:
		return asBool
	case reflect.Struct:
		return asObject
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // bytes are base64
			return asList
		}
	}
	return asOther
}

// Decode decodes data into the zero value that v points to, which must be of the type of the Decoder. It returns false, with a part of
// the data decoded, if data is not an object that it decodes exactly as [json.Unmarshal] does. A nil Decoder decodes nothing.
//
// The strings of an object of at most sharedBytes share its memory, a copy of data.
func (d *Decoder) Decode(data []byte, v any) bool {
	if d == nil {
		return false
	}
	p := plainDecoding{data: data}
	if len(data) <= sharedBytes {
		p.text = string(data)
	}
	i := p.object(d, blanks(data, 0), reflect.ValueOf(v).Elem())
	return i >= 0 && blanks(data, i) == len(data)
}

// sharedBytes is the size in bytes of data, at most, of which one copy is made for all strings.
const sharedBytes = 256

// plainDecoding is one call of Decode. Its methods return the index after what they have decoded, or -1 if it is not to be decoded.
type plainDecoding struct {
	data []byte
	text string // data, if it is short; otherwise ""
}

// object decodes the object that begins at i into the struct v.
func (p *plainDecoding) object(d *Decoder, i int, v reflect.Value) int {
	data := p.data
	if i >= len(data) || data[i] != '{' {
		return -1
	}
	if i = blanks(data, i+1); i < len(data) && data[i] == '}' {
		return i + 1
	}
	for next := 0; ; next++ {
		if i >= len(data) || data[i] != '"' {
			return -1
		}
		end := plainEnd(data, i+1)
		if end >= len(data) || data[end] != '"' {
			return -1 // an escape in the name
		}
		name := data[i+1 : end]
		if i = blanks(data, end+1); i >= len(data) || data[i] != ':' {
			return -1
		}
		if i = blanks(data, i+1); i >= len(data) {
			return -1
		}
		if next >= len(d.fields) || d.fields[next].name != string(name) { // mostly they come in order
			at, ok := d.byName[string(name)]
			if !ok {
				if i = p.unknown(d, name, i); i < 0 {
					return -1
				}
				goto ended
			}
			next = at
		}
		if i = p.value(&d.fields[next], i, v.Field(d.fields[next].index)); i < 0 {
			return -1
		}
	ended:
		if i = blanks(data, i); i >= len(data) {
			return -1
		}
		switch data[i] {
		case ',':
			i = blanks(data, i+1)
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

// unknown passes over the value at i of a field that the type lacks.
func (p *plainDecoding) unknown(d *Decoder, name []byte, i int) int {
	for _, c := range name {
		if c >= utf8.RuneSelf {
			return -1
		}
	}
	if has(d.shape.folded, fold(string(name))) {
		return -1 // encoding/json takes it for a field, whatever the case
	}
	value, end := p.raw(i)
	if value == nil || !Valid(value) {
		return -1
	}
	return end
}

// raw returns the value that begins at i, which may be malformed, and the index after it; nil if it is too large to be looked at
// alone, because it could be too deep together with what it stands in.
func (p *plainDecoding) raw(i int) (value []byte, end int) {
	end = valueEnd(p.data, i)
	if end == i || end-i >= maxDepth {
		return nil, -1
	}
	return p.data[i:end], end
}

// value decodes the value that begins at i into a field.
func (p *plainDecoding) value(f *plainField, i int, v reflect.Value) int {
	data := p.data
	if data[i] == 'n' && f.as < asList {
		return literal(data, i, "null") // changes nothing
	}
	switch f.as {
	case asString:
		return p.string(i, v)
	case asInt:
		return p.int(i, v)
	case asUint:
		n, end := digitsOf(data, i)
		if end < 0 || v.OverflowUint(n) {
			return -1
		}
		v.SetUint(n)
		return end
	case asFloat:
		end := number(data, i)
		if end < 0 {
			return -1
		}
		n, err := strconv.ParseFloat(string(data[i:end]), v.Type().Bits())
		if err != nil || v.OverflowFloat(n) {
			return -1
		}
		v.SetFloat(n)
		return end
	case asBool:
		if end := literal(data, i, "true"); end >= 0 {
			v.SetBool(true)
			return end
		}
		return literal(data, i, "false")
	case asObject:
		return p.object(f.inner, i, v)
	case asList:
		return p.list(f.elem, i, v)
	}
	value, end := p.raw(i)
	switch {
	case value == nil:
		return -1
	case f.as == asOther:
		if json.Unmarshal(value, v.Addr().Interface()) != nil {
			return -1
		}
		return end
	}
	if !Valid(value) || v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(value) != nil {
		return -1
	}
	return end
}

// list decodes the array that begins at i, or null, into the slice v. It does not if v is not nil, because of an earlier field of the same
// name: encoding/json uses the elements of that one.
func (p *plainDecoding) list(elem *plainField, i int, v reflect.Value) int {
	data := p.data
	switch {
	case !v.IsNil():
		return -1
	case data[i] == 'n':
		return literal(data, i, "null")
	case data[i] != '[':
		return -1
	}
	if i = blanks(data, i+1); i < len(data) && data[i] == ']' {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return i + 1
	}
	for n := 0; i < len(data); n++ {
		v.Grow(1)
		v.SetLen(n + 1)
		if i = p.value(elem, i, v.Index(n)); i < 0 {
			return -1
		}
		if i = blanks(data, i); i >= len(data) {
			return -1
		}
		switch data[i] {
		case ',':
			i = blanks(data, i+1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
	return -1
}

// string decodes the string that begins at i.
func (p *plainDecoding) string(i int, v reflect.Value) int {
	data := p.data
	if data[i] != '"' {
		return -1
	}
	end := plainEnd(data, i+1)
	switch {
	case end >= len(data):
		return -1
	case data[end] != '"': // an escape
		value, after := p.raw(i)
		var s string
		if value == nil || json.Unmarshal(value, &s) != nil {
			return -1
		}
		v.SetString(s)
		return after
	case !utf8.Valid(data[i+1 : end]):
		return -1
	case p.text != "":
		v.SetString(p.text[i+1 : end])
	default:
		v.SetString(string(data[i+1 : end]))
	}
	return end + 1
}

// int decodes the integer that begins at i.
func (p *plainDecoding) int(i int, v reflect.Value) int {
	begin, limit := i, uint64(1<<63-1)
	if p.data[i] == '-' {
		begin, limit = i+1, 1<<63
	}
	u, end := digitsOf(p.data, begin)
	if end < 0 || u > limit {
		return -1
	}
	n := int64(u)
	if begin > i {
		n = -n
	}
	if v.OverflowInt(n) {
		return -1
	}
	v.SetInt(n)
	return end
}

// digitsOf returns the number in decimal digits that begins at i, as JSON has them, and the index after it; -1 if there is none, it
// is too large, or not an integer.
func digitsOf(data []byte, i int) (n uint64, end int) {
	begin := i
	for ; i < len(data) && data[i]-'0' <= 9; i++ {
		n = 10*n + uint64(data[i]-'0')
	}
	switch {
	case i == begin, i-begin > 19: // 19 digits are below 1<<64
		return 0, -1
	case data[begin] == '0' && i > begin+1:
		return 0, -1
	case i < len(data) && (data[i] == '.' || data[i]|0x20 == 'e'):
		return 0, -1
	}
	return n, i
}
