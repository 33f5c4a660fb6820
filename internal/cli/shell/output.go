package shell

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// Format is the value of the flag -o. The zero value means a table on a terminal and tab-separated cells otherwise.
type Format string

// The values of Format. FormatAuto is the default and cannot be given.
const (
	FormatAuto  Format = ""
	FormatTable Format = "table"
	FormatJSON  Format = "json"
	FormatJSONL Format = "jsonl"
	FormatYAML  Format = "yaml"
)

// String returns the format as it is written on the command line.
func (f *Format) String() string { return string(*f) }

// Type returns the text that the help shows for the value of the flag.
func (f *Format) Type() string { return "table|json|jsonl|yaml" }

// Set sets the format. It returns an error if s is no format.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case FormatTable, FormatJSON, FormatJSONL, FormatYAML:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("want table, json, jsonl or yaml")
}

// Machine reports whether the format is one for programs: JSON, JSON lines or YAML.
func (f Format) Machine() bool { return f == FormatJSON || f == FormatJSONL || f == FormatYAML }

// Output prints the data of a command.
type Output struct {
	w io.Writer
	// Format is the value of -o.
	Format Format
	// Terminal, Color and Width describe the stream: whether it is a terminal, whether colours may be used (not with
	// NO_COLOR or TERM=dumb), and its width in columns, which is 0 if it is not known.
	Terminal bool
	Color    bool
	Width    int
}

// NewOutput returns an Output that prints to w in format f.
func NewOutput(w io.Writer, f Format) *Output {
	o := &Output{w: w, Format: f, Terminal: IsTerminal(w)}
	if o.Terminal {
		o.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil {
			o.Width = width
		}
	}
	return o
}

// Table reports whether the output is a table with column heads, rather than tab-separated cells or a format for
// programs.
func (o *Output) Table() bool { return o.Format == FormatTable || o.Format == FormatAuto && o.Terminal }

// Write writes p unchanged.
func (o *Output) Write(p []byte) (int, error) { return o.w.Write(p) }

// List prints a list of values. In a format for programs the values are encoded, and no values give an empty list in
// JSON and YAML. Otherwise each value is printed as the row of its cells, below the heads if the output is a table.
// heads and cells may be nil if the format is one for programs.
func List[T any](o *Output, heads []string, values []T, cells func(T) []string) error {
	switch o.Format {
	case FormatJSON:
		if values == nil {
			values = []T{}
		}
		return o.json(values)
	case FormatJSONL:
		for _, v := range values {
			if err := o.JSONLine(v); err != nil {
				return err
			}
		}
		return nil
	case FormatYAML:
		if len(values) == 0 {
			_, err := io.WriteString(o.w, "[]\n")
			return err
		}
		return o.YAML(values)
	}
	if !o.Table() {
		w := bufio.NewWriter(o.w)
		for _, v := range values {
			WriteRow(w, cells(v))
		}
		return w.Flush()
	}
	w := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, v := range values {
		WriteRow(w, cells(v))
	}
	return w.Flush()
}

// Value prints one value: encoded in a format for programs, otherwise as the function text writes it. If text returns
// an error, nothing is printed.
func (o *Output) Value(v any, text func(io.Writer) error) error {
	switch o.Format {
	case FormatJSON:
		return o.json(v)
	case FormatJSONL:
		return o.JSONLine(v)
	case FormatYAML:
		return o.YAML(v)
	}
	var b bytes.Buffer
	if err := text(&b); err != nil {
		return err
	}
	_, err := o.w.Write(b.Bytes())
	return err
}

func (o *Output) json(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// JSONLine writes a value as JSON in one line, whatever Format is.
func (o *Output) JSONLine(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
