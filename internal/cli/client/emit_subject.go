package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"tidings.dev/internal/jsonfields"
)

// subjectPattern is a subject in which {field} stands for the field of that name in an event's data.
type subjectPattern struct {
	texts  []string // the texts before, between and after the fields: one more than there are fields
	fields []string // names of the fields
}

// inBraces matches a field name in braces, with the braces.
var inBraces = regexp.MustCompile(`\{[^{}]*\}`)

// parseSubject parses a subject that may have fields in braces.
func parseSubject(subject string) subjectPattern {
	var p subjectPattern
	rest := 0
	for _, at := range inBraces.FindAllStringIndex(subject, -1) {
		p.texts = append(p.texts, subject[rest:at[0]])
		p.fields = append(p.fields, subject[at[0]+1:at[1]-1])
		rest = at[1]
	}
	p.texts = append(p.texts, subject[rest:])
	return p
}

// fill returns the subject with each field replaced by its value in data, which must be JSON without leading blanks. It
// returns an error if data has no string, number or boolean for a field.
func (p subjectPattern) fill(data []byte) (string, error) {
	if len(p.fields) == 0 {
		return p.texts[0], nil
	}
	if len(data) == 0 || data[0] != '{' {
		return "", errors.New("--subject asks for a field, but the data is no JSON object")
	}
	var filled strings.Builder
	for i, name := range p.fields {
		text, err := fieldText(data, name)
		if err != nil {
			return "", err
		}
		filled.WriteString(p.texts[i])
		filled.WriteString(text)
	}
	filled.WriteString(p.texts[len(p.fields)])
	return filled.String(), nil
}

// fieldText returns a field of a JSON object as text. If the object has several fields of that name, the last one is
// used.
func fieldText(data []byte, name string) (string, error) {
	var raw []byte
	for field, value := range jsonfields.All(data) {
		if string(field) == name {
			raw = value
		}
	}
	switch {
	case raw == nil, raw[0] == '{', raw[0] == '[', string(raw) == "null":
		return "", fmt.Errorf("--subject asks for field %q, which the data has no text or number of", name)
	case raw[0] == '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	}
	return string(raw), nil
}
