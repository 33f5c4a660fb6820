package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
)

// options has the values of the flags that all presets share, and the streams of the program.
type options struct {
	stdout, stderr io.Writer

	tidings string
	data    string
	output  string
	check   bool
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.tidings, "tidings", "", "`PATH` of the program tidings to measure, of this or another release (default: it is built from this module)")
	f.StringVar(&o.data, "data", "", "data directory of the broker, which is kept (default: a temporary one in $TMPDIR)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.check, "check", false, "exit with 6 if a figure misses its goal")
}

// validate returns a usage error if one of these flags is not valid.
func (o *options) validate() error {
	if o.output != "text" && o.output != "json" {
		return usagef("-o %s: want text or json", o.output)
	}
	return nil
}

// goals are the goals of figures, by the names of the figures in the report.
type goals map[string]bench.Goal

// String returns the goals as text for the help.
func (g goals) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		all = append(all, name+" "+g[name].String())
	}
	return strings.Join(all, ", ")
}

// missedError is returned if figures have missed their goals.
type missedError struct{ missed []bench.Ratio }

func (e *missedError) Error() string {
	var all []string
	for _, r := range e.missed {
		all = append(all, fmt.Sprintf("%s is %.3g, the goal is %s", r.Name, r.Median, r.Goal))
	}
	return strings.Join(all, "; ") + " (measure on an idle machine; the lowest and highest rounds show how steady it was)"
}

// finish adds the goals to a report and prints it. If --check is given and goals were missed, it returns a
// missedError.
func (o *options) finish(r bench.Report, preset string, g goals) error {
	r.Preset, r.Target.Program = preset, o.tidings
	missed, err := r.Judge(g)
	if err != nil {
		return err
	}
	if o.output == "json" {
		enc := json.NewEncoder(o.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.WriteText(o.stdout)
	}
	if err == nil && o.check && len(missed) > 0 {
		err = &missedError{missed}
	}
	return err
}
