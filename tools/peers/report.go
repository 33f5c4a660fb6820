//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"tidings.dev/internal/bench"
)

// report is the output with -o json. The names of its fields are stable.
type report struct {
	At          time.Time     `json:"at"`
	Machine     bench.Machine `json:"machine"`
	FileSystem  string        `json:"file_system"`
	Rounds      int           `json:"rounds"`
	Seconds     float64       `json:"seconds"` // measured time of one measurement
	RecordBytes int           `json:"record_bytes"`
	ReplayBytes int64         `json:"replay_bytes"`
	TookSeconds float64       `json:"took_s"`
	Peers       []peerReport  `json:"peers"`
	Rows        []rowReport   `json:"rows"`
}

type peerReport struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Setting string `json:"setting"`
	Promise string `json:"promise"`
	Syncs   bool   `json:"syncs"`            // an acknowledgement guarantees that the record is on disk
	Absent  string `json:"absent,omitempty"` // reason why the peer was not measured
}

type rowReport struct {
	Name  string       `json:"name"`
	Title string       `json:"title"`
	Unit  string       `json:"unit"` // unit of Figure and Each, of which Ratio is the ratio
	Cells []cellReport `json:"cells"`
}

// cellReport is the result of one peer in one row. Figure is the median over the rounds.
type cellReport struct {
	Peer   string       `json:"peer"`
	Figure float64      `json:"figure"`
	Each   []float64    `json:"each"`            // figures of the rounds
	Result bench.Result `json:"result"`          // all measurements
	Ratio  *bench.Ratio `json:"ratio,omitempty"` // figure of Tidings divided by that of this peer; nil for Tidings
}

func newReport(p plan, dir string) *report {
	return &report{
		At: time.Now().UTC().Truncate(time.Second), Machine: bench.ThisMachine(), FileSystem: output("stat", "-f", "-c", "%T", dir),
		Rounds: p.rounds, Seconds: p.duration.Seconds(), RecordBytes: p.recordBytes, ReplayBytes: p.replayBytes,
	}
}

func (r *report) absent(p peer, why error) {
	r.Peers = append(r.Peers, peerReport{Name: p.name, Setting: p.setting, Promise: p.promise, Syncs: p.syncs, Absent: why.Error()})
}

// take adds the results of the rounds to the report, and returns descriptions of the goals that were missed.
func (r *report) take(rounds []bench.Round, contenders []*contender) (missed []string) {
	for _, c := range contenders {
		r.Peers = append(r.Peers, peerReport{Name: c.peer.name, Version: c.version, Setting: c.peer.setting, Promise: c.peer.promise, Syncs: c.peer.syncs})
	}
	for _, row := range rows {
		said := rowReport{Name: row.name, Title: row.title, Unit: row.unit}
		for _, c := range contenders {
			name := key(row.name, c.peer.name)
			cell := cellReport{Peer: c.peer.name, Result: bench.Summarize(name, rounds)}
			for _, round := range rounds {
				cell.Each = append(cell.Each, row.of(round[name]))
			}
			cell.Figure = bench.Compare(rounds, []bench.Comparison{{Of: func(round bench.Round) float64 { return row.of(round[name]) }}})[0].Median
			if c.peer.name != tidingsName {
				ratio := bench.Compare(rounds, []bench.Comparison{{
					Name: fmt.Sprintf("%s %s: %s / %s", row.name, row.unit, tidingsName, c.peer.name), Goal: row.goal(c.peer),
					Of: func(round bench.Round) float64 {
						return bench.Divide(row.of(round[key(row.name, tidingsName)]), row.of(round[name]))
					},
				}})[0]
				cell.Ratio = &ratio
				if ratio.Met != nil && !*ratio.Met {
					missed = append(missed, fmt.Sprintf("%s is %.3g, the goal is %s", ratio.Name, ratio.Median, ratio.Goal))
				}
			}
			said.Cells = append(said.Cells, cell)
		}
		r.Rows = append(r.Rows, said)
	}
	return missed
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "peers: %d rounds of %g s in %.0f s, records of %d bytes, %s, %s/%s, %d CPUs\n",
		r.Rounds, r.Seconds, r.TookSeconds, r.RecordBytes, r.FileSystem, r.Machine.OS, r.Machine.Arch, r.Machine.CPUs)
	for _, p := range r.Peers {
		if p.Absent != "" {
			fmt.Fprintf(w, "  %s: not measured: %s\n", p.Name, p.Absent)
			continue
		}
		fmt.Fprintf(w, "  %s (%s): %s; acknowledged means that %s\n", p.Name, p.Version, p.Setting, p.Promise)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range r.Rows {
		fmt.Fprintf(t, "\n%s\n", row.Title)
		fmt.Fprintln(t, "\trecords/s\tMB/s\tp50\tp99\tserver CPU µs/record\tserver RSS MB\ttidings / peer\tlow\thigh\tgoal\t")
		for _, c := range row.Cells {
			fmt.Fprintf(t, "  %s\t%s\t%s\t", c.Peer, figure(c.Result.RecordsPerSec), figure(c.Result.MBPerSec))
			if l := c.Result.Latency; l != nil && row.Name == "one" {
				fmt.Fprintf(t, "%.0f µs\t%.0f µs\t", l.P50, l.P99)
			} else {
				fmt.Fprint(t, "\t\t")
			}
			if s := c.Result.Server; s != nil {
				fmt.Fprintf(t, "%s\t%s\t", figure(1e6*bench.Divide(s.CPUSeconds, c.Result.Records)), figure(s.RSSBytes/1e6))
			} else {
				fmt.Fprint(t, "\t\t")
			}
			if c.Ratio != nil {
				goal := c.Ratio.Goal
				if c.Ratio.Met != nil {
					goal += map[bool]string{true: " met", false: " missed"}[*c.Ratio.Met]
				}
				fmt.Fprintf(t, "%.3g\t%.3g\t%.3g\t%s\t", c.Ratio.Median, c.Ratio.Low, c.Ratio.High, goal)
			}
			fmt.Fprintln(t)
		}
	}
	return t.Flush()
}

// figure formats a number with three significant digits, or as a whole number from 100 on. It returns "" for 0.
func figure(f float64) string {
	switch {
	case f == 0:
		return ""
	case f < 100:
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return strconv.FormatInt(int64(math.Round(f)), 10)
}
