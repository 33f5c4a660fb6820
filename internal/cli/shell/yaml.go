package shell

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// YAML writes a value as YAML in block style, whatever Format is. It converts the JSON encoding of the value and
// keeps the order of fields.
func (o *Output) YAML(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	y := yamlWriter{dec: dec, w: bufio.NewWriter(o.w)}
	if err := y.document(); err != nil {
		return err
	}
	return y.w.Flush()
}

// yamlWriter converts the JSON that it reads from dec to YAML.
type yamlWriter struct {
	dec *json.Decoder
	w   *bufio.Writer
}

func (y *yamlWriter) document() error {
	token, err := y.dec.Token()
	if err != nil {
		return err
	}
	return y.value(token, 0, false)
}

// value writes the JSON value that begins with token. inline is true after a dash: a collection then starts in the
// same line.
func (y *yamlWriter) value(token json.Token, depth int, inline bool) error {
	delim, collection := token.(json.Delim)
	if !collection {
		if depth > 0 && !inline {
			y.w.WriteByte(' ')
		}
		y.w.WriteString(yamlScalar(token))
		y.w.WriteByte('\n')
		return nil
	}
	if !y.dec.More() {
		if depth > 0 && !inline {
			y.w.WriteByte(' ')
		}
		y.w.WriteString(map[json.Delim]string{'{': "{}", '[': "[]"}[delim] + "\n")
		_, err := y.dec.Token()
		return err
	}
	if depth > 0 && !inline {
		y.w.WriteByte('\n')
	}
	indent := strings.Repeat("  ", depth)
	for first := true; y.dec.More(); first = false {
		if !first || !inline {
			y.w.WriteString(indent)
		}
		token, err := y.dec.Token()
		if err != nil {
			return err
		}
		if delim == '[' {
			y.w.WriteString("- ")
			err = y.value(token, depth+1, true)
		} else {
			y.w.WriteString(yamlScalar(token) + ":")
			if token, err = y.dec.Token(); err == nil {
				err = y.value(token, depth+1, false)
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := y.dec.Token()
	return err
}

var (
	plainYAML    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)
	reservedYAML = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)
)

func yamlScalar(token json.Token) string {
	switch v := token.(type) {
	case nil:
		return "null"
	case string:
		if plainYAML.MatchString(v) && !reservedYAML.MatchString(v) {
			return v
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v) // a string always encodes
		return strings.TrimSuffix(b.String(), "\n")
	default:
		return fmt.Sprint(v)
	}
}
