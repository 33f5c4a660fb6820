package jsonfields

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shape has the fields that encoding/json reads into a Go type. It is immutable. The nil *Shape is that of a type
// whose fields are not known: a type that is no struct, such as a map or an interface, or one that decodes itself,
// such as json.RawMessage.
type Shape struct {
	fields []field
	byName map[string]int // index in fields, by name
	folded map[string]int // index in fields, by the name as fold returns it; the first of several
}

// field is one field of a struct, or of a struct that it embeds.
type field struct {
	name     string
	optional bool   // its tag has omitempty or omitzero
	list     bool   // the value is a list; shape is that of its elements
	shape    *Shape // shape of the value, or of the elements of a list
}

var (
	decodesJSON = reflect.TypeFor[json.Unmarshaler]()
	decodesText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// ShapeOf returns the shape of a type, of which pointers are dereferenced.
func ShapeOf(t reflect.Type) *Shape { return shapes{}.of(t) }

// shapes has the shapes that are known or under construction. A type may contain itself, so a shape is added before
// its fields are complete.
type shapes map[reflect.Type]*Shape

// of returns the shape of a type, and adds it if it is not known.
func (known shapes) of(t reflect.Type) *Shape {
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || decodesItself(t) {
		return nil
	}
	if s, ok := known[t]; ok {
		return s
	}
	s := &Shape{byName: make(map[string]int), folded: make(map[string]int)}
	known[t] = s
	for _, f := range structFields(t) {
		list, elem := elements(f.Type)
		at := len(s.fields)
		s.fields = append(s.fields, field{name: f.name, optional: f.optional, list: list, shape: known.of(elem)})
		s.byName[f.name] = at
		if key := fold(f.name); !has(s.folded, key) {
			s.folded[key] = at
		}
	}
	return s
}

func has(m map[string]int, key string) bool { _, ok := m[key]; return ok }

// decodesItself reports whether encoding/json calls a method of t, or of a pointer to t, to decode a value.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Implements(decodesJSON) || t.Implements(decodesText) || p.Implements(decodesJSON) || p.Implements(decodesText)
}

// elements returns true and the type of the elements if t is a list, and false and t itself if it is not. Pointers are
// dereferenced.
func elements(t reflect.Type) (list bool, elem reflect.Type) {
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && !decodesItself(t) {
		return true, t.Elem()
	}
	return false, t
}

// structField is a field of a struct as encoding/json sees it: under its JSON name.
type structField struct {
	reflect.StructField
	name             string
	tagged, optional bool
}

// structFields returns the fields of a struct and of the structs that it embeds, by the rules of encoding/json: of
// several fields with the same name, the least deeply embedded one counts; of several of these, the one that has the
// name from its tag; and if there is not exactly one such field, none.
func structFields(t reflect.Type) []structField {
	var all []structField
	taken := map[string]bool{} // names of fields at the levels above
	visited := map[reflect.Type]bool{}
	for level := []reflect.Type{t}; len(level) > 0; {
		var below []reflect.Type
		var order []string
		here := map[string][]structField{}
		for _, t := range level {
			visited[t] = true
			for i := range t.NumField() {
				f, embedded := describe(t.Field(i))
				switch {
				case embedded != nil && !visited[embedded]:
					below = append(below, embedded)
				case f.name == "" || taken[f.name]:
				default:
					if here[f.name] == nil {
						order = append(order, f.name)
					}
					here[f.name] = append(here[f.name], f)
				}
			}
		}
		for _, name := range order {
			if f, ok := dominant(here[name]); ok {
				all = append(all, f)
			}
			taken[name] = true
		}
		level = below
	}
	return all
}

// describe returns a field with its JSON name, or the type of the struct that the field embeds. It returns neither if
// encoding/json ignores the field.
func describe(f reflect.StructField) (named structField, embedded reflect.Type) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return structField{}, nil
	}
	name, options, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	inner := f.Type
	if inner.Kind() == reflect.Pointer && inner.Name() == "" {
		inner = inner.Elem()
	}
	switch {
	case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
		return structField{}, inner
	case !f.IsExported() && !(f.Anonymous && inner.Kind() == reflect.Struct):
		return structField{}, nil
	}
	named = structField{StructField: f, name: name, tagged: name != ""}
	if name == "" {
		named.name = f.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		named.optional = named.optional || option == "omitempty" || option == "omitzero"
	}
	return named, nil
}

// validName reports whether encoding/json accepts name as the name in a tag.
func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// dominant returns the field that counts among fields with the same name on the same level; false if there is none.
func dominant(same []structField) (structField, bool) {
	if len(same) == 1 {
		return same[0], true
	}
	tagged := slices.DeleteFunc(slices.Clone(same), func(f structField) bool { return !f.tagged })
	if len(tagged) == 1 {
		return tagged[0], true
	}
	return structField{}, false
}

// fold returns a form of name that is the same for all names that encoding/json treats as equal regardless of case.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for { // find the smallest of the runes that fold into each other
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}

// Has reports whether a type has a field, and whether an encoder may leave the field out when it is empty. The name is as in a
// Difference. A nil *Shape has no fields.
func (s *Shape) Has(name string) (has, optional bool) {
	if s == nil {
		return false, false
	}
	if at, ok := s.folded[fold(name)]; ok {
		return true, s.fields[at].optional
	}
	for i := range s.fields {
		if inner, ok := strings.CutPrefix(name, s.fields[i].name+"."); ok {
			return s.fields[i].shape.Has(inner)
		}
	}
	return false, false
}

// Difference has the fields in which data differs from a type. Both lists are sorted and have each name once.
// Names of nested fields are joined by dots, as in "lines.sku".
type Difference struct {
	Unknown []string // fields that the data has and the type lacks
	Missing []string // fields that the type has and the data lacks
}

// None reports whether there is no difference.
func (d Difference) None() bool { return len(d.Unknown) == 0 && len(d.Missing) == 0 }

const (
	// maxDifferences is the number of names in each list of a Difference.
	maxDifferences = 64
	// maxNameBytes is the length, in bytes, to which names in a Difference are cut.
	maxNameBytes = 256
)

// Compare returns how the fields of data, which must be valid JSON, differ from those of the type. A field that an
// encoder may leave out (omitempty, omitzero) is never missing. Of a list, the first element is compared. At most 64
// names of each kind are returned. With a nil s, there is no difference.
func (s *Shape) Compare(data []byte) Difference {
	var d Difference
	if s != nil {
		s.compare(data, "", &d)
	}
	for _, names := range []*[]string{&d.Unknown, &d.Missing} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return d
}

// compare adds the differences of an object to d. outer is the prefix of the names, "" or one that ends in a dot.
func (s *Shape) compare(data []byte, outer string, d *Difference) {
	var few [32]bool
	found := few[:]
	if len(s.fields) > len(few) {
		found = make([]bool, len(s.fields))
	}
	for name, value := range All(data) {
		at, ok := s.byName[string(name)]
		if !ok {
			at, ok = s.folded[fold(string(name))]
		}
		if !ok {
			add(&d.Unknown, outer, string(name))
			continue
		}
		found[at] = true
		if f := &s.fields[at]; f.shape != nil {
			if f.list {
				value = firstElement(value)
			}
			if len(value) > 0 && value[0] == '{' {
				f.shape.compare(value, outer+f.name+".", d)
			}
		}
	}
	for i := range s.fields {
		if !found[i] && !s.fields[i].optional {
			add(&d.Missing, outer, s.fields[i].name)
		}
	}
}

// add adds a name to one of the lists of a Difference, unless the list is full.
func add(names *[]string, outer, name string) {
	if len(*names) >= maxDifferences {
		return
	}
	if name = outer + name; len(name) > maxNameBytes {
		end := maxNameBytes
		for !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + "…"
	}
	*names = append(*names, name)
}

// firstElement returns the JSON of the first element of an array; nil or empty if there is none.
func firstElement(list []byte) []byte {
	if len(list) == 0 || list[0] != '[' {
		return nil
	}
	i := blanks(list, 1)
	return list[i:max(i, valueEnd(list, i))]
}
