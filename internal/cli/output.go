package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// A format is what -o asks for. The zero value follows stdout: a table on a terminal, tab-separated otherwise.
type format string

const (
	formatAuto  format = ""
	formatTable format = "table"
	formatJSON  format = "json"
	formatJSONL format = "jsonl"
	formatYAML  format = "yaml"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "table|json|jsonl|yaml" }

func (f *format) Set(s string) error {
	switch format(s) {
	case formatTable, formatJSON, formatJSONL, formatYAML:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("want table, json, jsonl or yaml")
}

// machine reports whether the output is for a program.
func (f format) machine() bool { return f == formatJSON || f == formatJSONL || f == formatYAML }

// output writes a command's data.
type output struct {
	w        io.Writer
	format   format
	terminal bool
	colour   bool
	width    int // of the terminal in characters; 0 if it is none
}

func newOutput(w io.Writer, f format) *output {
	o := &output{w: w, format: f}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		o.terminal = true
		o.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			o.width = width
		}
	}
	return o
}

// list writes several things of a kind. Under a machine format they are written as they are; else row gives the cells
// of each, under the heads.
func list[T any](o *output, heads []string, things []T, row func(T) []string) error {
	switch o.format {
	case formatJSON:
		if things == nil {
			things = []T{}
		}
		return o.json(things)
	case formatJSONL:
		for _, t := range things {
			if err := o.jsonLine(t); err != nil {
				return err
			}
		}
		return nil
	case formatYAML:
		if len(things) == 0 {
			_, err := io.WriteString(o.w, "[]\n")
			return err
		}
		return o.yaml(things)
	}
	if !o.terminal && o.format != formatTable {
		w := bufio.NewWriter(o.w)
		for _, t := range things {
			writeTabbed(w, row(t))
		}
		return w.Flush()
	}
	w := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, t := range things {
		writeTabbed(w, row(t))
	}
	return w.Flush()
}

// thing writes one value: as it is under a machine format, else by text.
func (o *output) thing(v any, text func(io.Writer) error) error {
	switch o.format {
	case formatJSON:
		return o.json(v)
	case formatJSONL:
		return o.jsonLine(v)
	case formatYAML:
		return o.yaml(v)
	}
	var b bytes.Buffer
	if err := text(&b); err != nil {
		return err
	}
	_, err := o.w.Write(b.Bytes())
	return err
}

func (o *output) json(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (o *output) jsonLine(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func writeTabbed(w io.Writer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(w, "\t")
		}
		io.WriteString(w, clean(c))
	}
	io.WriteString(w, "\n")
}

// clean makes text from the log safe for a terminal and for one cell: what does not print is written as Go escapes it,
// so that no record can move the cursor or break a line.
func clean(s string) string {
	plain := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r != utf8.RuneError && unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := fmt.Sprintf("%+q", r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
