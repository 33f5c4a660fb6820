package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the report as tables.
func (r Report) WriteText(w io.Writer) error {
	name := r.Benchmark
	if r.Preset != "" {
		name += " (" + r.Preset + ")"
	}
	where := r.Target.Kind
	if r.Target.FileSystem != "" {
		where += " on " + r.Target.FileSystem
	}
	if r.Target.Address != "" {
		where += " " + r.Target.Address
	}
	rounds := "1 round"
	if r.Rounds != 1 {
		rounds = fmt.Sprintf("%d rounds", r.Rounds)
	}
	fmt.Fprintf(w, "%s: %s, %s in %.0f s, %s/%s, %d CPUs, %s\n", name, where, rounds, r.TookSeconds, r.Machine.OS, r.Machine.Arch,
		r.Machine.CPUs, r.Machine.Go)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\trecords/s\tMB/s\tp50\tp90\tp99\tp99.9\tmax\tCPU s\tserver CPU s\tserver RSS\tallocs/record\t")
	for _, result := range append([]Result{r.Result}, r.Ceilings...) {
		result.writeRow(t, result.Name, result.Latency)
		if result.AckLatency != nil {
			Result{}.writeRow(t, result.Name+" ack", result.AckLatency)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := r.writeFigures(w); err != nil {
		return err
	}
	if err := writeSeries(w, r.Result.Series); err != nil {
		return err
	}
	return writeRatios(w, r.Ratios)
}

// writeRatios writes the table of ratios and figures with their goals.
func writeRatios(w io.Writer, ratios []Ratio) error {
	if len(ratios) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RATIO OR FIGURE\tMEDIAN\tLOW\tHIGH\tGOAL\t")
	for _, ratio := range ratios {
		goal := ratio.Goal
		if ratio.Met != nil {
			goal += map[bool]string{true: " met", false: " missed"}[*ratio.Met]
		}
		fmt.Fprintf(t, "%s\t%.3g\t%.3g\t%.3g\t%s\t\n", ratio.Name, ratio.Median, ratio.Low, ratio.High, goal)
	}
	return t.Flush()
}

// writeFigures writes the table of further figures, with a row for each contender that has some.
func (r Report) writeFigures(w io.Writer) error {
	if len(r.Result.Figures) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	names := slices.Sorted(maps.Keys(r.Result.Figures))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\t"+strings.Join(names, "\t")+"\t")
	for _, result := range append([]Result{r.Result}, r.Ceilings...) {
		if result.Figures == nil {
			continue
		}
		fmt.Fprint(t, result.Name, "\t")
		for _, name := range names {
			fmt.Fprintf(t, "%.4g\t", result.Figures[name])
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// writeSeries writes the table of the intervals of the last round.
func writeSeries(w io.Writer, series []Interval) error {
	if len(series) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "from\trecords/s\tdelivered/s\tp50\tp99\tp99.9\tmax\tserver CPU s\tserver RSS, at most\t")
	for _, i := range series {
		fmt.Fprintf(t, "%s\t%s\t%s\t", time.Duration(i.FromSeconds*float64(time.Second)).Round(time.Second), rateText(i.RecordsPerSec), rateText(i.DeliveredPerSec))
		if i.Latency != nil {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t", i.Latency.P50.text(), i.Latency.P99.text(), i.Latency.P999.text(), i.Latency.Max.text())
		} else {
			fmt.Fprint(t, "\t\t\t\t")
		}
		if i.Server != nil {
			fmt.Fprintf(t, "%s\t%.0f MB\t", secondsText(i.Server.CPUSeconds), i.Server.PeakRSSBytes/1e6)
		} else {
			fmt.Fprint(t, "\t\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// writeRow writes a row of the first table. Cells of figures that were not measured are empty.
func (r Result) writeRow(w io.Writer, name string, l *Latency) {
	cells := []string{name, rateText(r.RecordsPerSec), rateText(r.MBPerSec)}
	if l == nil {
		cells = append(cells, "", "", "", "", "")
	} else {
		for _, m := range []Micros{l.P50, l.P90, l.P99, l.P999, l.Max} {
			cells = append(cells, m.text())
		}
	}
	cells = append(cells, secondsText(r.Client.CPUSeconds))
	if r.Server != nil {
		cells = append(cells, secondsText(r.Server.CPUSeconds), fmt.Sprintf("%.0f MB", r.Server.RSSBytes/1e6))
	} else {
		cells = append(cells, "", "")
	}
	if r.Records > 0 && r.Client.Allocs > 0 {
		cells = append(cells, fmt.Sprintf("%.2f", r.Client.Allocs/r.Records))
	} else {
		cells = append(cells, "")
	}
	for _, cell := range cells {
		fmt.Fprint(w, cell, "\t")
	}
	fmt.Fprintln(w)
}

// rateText returns a rate as a whole number, with two decimals if it is below 10, or "" if it is 0.
func rateText(f float64) string {
	switch {
	case f == 0:
		return ""
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	}
	return Thousands(f)
}

func secondsText(f float64) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f)
}

// text returns the time with three significant digits.
func (m Micros) text() string {
	d := time.Duration(float64(m) * 1e3)
	if d <= 0 {
		return "0"
	}
	step := time.Duration(math.Pow(10, max(math.Floor(math.Log10(float64(d)))-2, 0)))
	return d.Round(step).String()
}
