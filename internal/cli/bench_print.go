package cli

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"tidings.dev/internal/bench"
)

// writeBenchReport is a report for people.
func writeBenchReport(w io.Writer, r bench.Report) error {
	where := r.Target.Kind
	if r.Target.FileSystem != "" {
		where += " on " + r.Target.FileSystem
	}
	if r.Target.Address != "" {
		where += " " + r.Target.Address
	}
	name := r.Benchmark
	if r.Preset != "" {
		name += " --preset " + r.Preset
	}
	fmt.Fprintf(w, "%s: %s, %s in %.0f s, %s/%s, %d CPUs, %s\n", name, where, plural(r.Rounds, "round"), r.TookSeconds, r.Machine.OS, r.Machine.Arch,
		r.Machine.CPUs, r.Machine.Go)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\trecords/s\tMB/s\tp50\tp90\tp99\tp99.9\tmax\tCPU s\tserver CPU s\tserver RSS\tallocs/record\t")
	for _, result := range append([]bench.Result{r.Result}, r.Ceilings...) {
		writeBenchRow(t, result, result.Name, result.Latency)
		if result.AckLatency != nil {
			writeBenchRow(t, bench.Result{}, result.Name+" ack", result.AckLatency)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := writeSeries(w, r.Result.Series); err != nil {
		return err
	}
	if len(r.Ratios) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RATIO OR FIGURE\tMEDIAN\tLOW\tHIGH\tGOAL\t")
	for _, ratio := range r.Ratios {
		goal := ratio.Goal
		if ratio.Met != nil {
			goal += map[bool]string{true: " met", false: " missed"}[*ratio.Met]
		}
		fmt.Fprintf(t, "%s\t%.3g\t%.3g\t%.3g\t%s\t\n", ratio.Name, ratio.Median, ratio.Low, ratio.High, goal)
	}
	return t.Flush()
}

// writeSeries writes what followed each other in the last round.
func writeSeries(w io.Writer, series []bench.Interval) error {
	if len(series) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "from\trecords/s\tdelivered/s\tp50\tp99\tp99.9\tmax\tserver CPU s\tserver RSS, at most\t")
	for _, i := range series {
		fmt.Fprintf(t, "%s\t%s\t%s\t", time.Duration(i.FromSeconds*float64(time.Second)).Round(time.Second), number(i.RecordsPerSec), number(i.DeliveredPerSec))
		if i.Latency != nil {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t", microsText(i.Latency.P50), microsText(i.Latency.P99), microsText(i.Latency.P999), microsText(i.Latency.Max))
		} else {
			fmt.Fprint(t, "\t\t\t\t")
		}
		if i.Server != nil {
			fmt.Fprintf(t, "%s\t%.0f MB\t", seconds(i.Server.CPUSeconds), i.Server.PeakRSSBytes/1e6)
		} else {
			fmt.Fprint(t, "\t\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func writeBenchRow(w io.Writer, r bench.Result, name string, l *bench.Latency) {
	cells := []string{name, number(r.RecordsPerSec), number(r.MBPerSec)}
	if l == nil {
		cells = append(cells, "", "", "", "", "")
	} else {
		for _, m := range []bench.Micros{l.P50, l.P90, l.P99, l.P999, l.Max} {
			cells = append(cells, microsText(m))
		}
	}
	cells = append(cells, seconds(r.Client.CPUSeconds))
	if r.Server != nil {
		cells = append(cells, seconds(r.Server.CPUSeconds), fmt.Sprintf("%.0f MB", r.Server.RSSBytes/1e6))
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

func number(f float64) string {
	switch {
	case f == 0:
		return ""
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	}
	return thousands(f)
}

func seconds(f float64) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f)
}

// microsText writes a latency with three digits that count.
func microsText(m bench.Micros) string {
	d := time.Duration(float64(m) * 1e3)
	if d <= 0 {
		return "0"
	}
	step := time.Duration(math.Pow(10, max(math.Floor(math.Log10(float64(d)))-2, 0)))
	return d.Round(step).String()
}
