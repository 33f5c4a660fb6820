package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings.dev/internal/doctor"
)

func (s *session) repairCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "repair [DIR]", Short: "Do what `tidings doctor` said",
		Long: "Repairs a data directory on which no broker runs. It says what it would do, and does it with --yes: what is damaged is\n" +
			"written anew from all that can still be read, and kept as it was below " + doctor.LostDir + " in the directory. Nothing is changed\n" +
			"unless a rehearsal shows that a broker opens the outcome.",
		Args: arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return s.repair(s.directoryOf(args), yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}

func (s *session) repair(dir string, yes bool) error {
	if err := mustBeDirectory(dir); err != nil {
		return err
	}
	if !yes {
		return s.planRepair(dir)
	}
	before, done, err := doctor.RepairDir(dir)
	if errors.Is(err, doctor.ErrNothing) {
		return s.nothingToRepair(before)
	}
	if err != nil {
		return doctorFault(dir, err)
	}
	err = s.output().thing(done, func(w io.Writer) error {
		for _, what := range done.Done {
			fmt.Fprintln(w, clean(what))
		}
		if done.Restored > 0 {
			fmt.Fprintf(w, "%s found again in another place\n", plural(int(done.Restored), "record"))
		}
		for _, what := range done.Lost {
			fmt.Fprintf(w, "lost: %s\n", clean(what))
		}
		if done.Kept != "" {
			fmt.Fprintf(w, "what was there is kept in %s\n", filepath.Join(dir, done.Kept))
		}
		for _, f := range done.After.Findings {
			fmt.Fprintf(w, "now: %s\n", findingText(f))
		}
		return nil
	})
	if err == nil && !done.After.Opens {
		err = failedf("repair", "restore the newest backup: tidings restore TARGET --data ANOTHER", "%s is repaired as far as can be, and no broker opens it", dir)
	}
	return err
}

// planRepair says what a repair would do, and asks for --yes.
func (s *session) planRepair(dir string) error {
	report, err := doctor.CheckDir(dir)
	if err != nil {
		return doctorFault(dir, err)
	}
	var todo []doctor.Finding
	for _, f := range report.Findings {
		if f.Repair != "" {
			todo = append(todo, f)
		}
	}
	if len(todo) == 0 {
		return s.nothingToRepair(report)
	}
	err = s.output().thing(todo, func(w io.Writer) error {
		for _, f := range todo {
			fmt.Fprintln(w, findingText(f))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return usagef("copy the directory first if you can; what is taken out of the way is kept in "+filepath.Join(dir, doctor.LostDir),
		"nothing was changed: give --yes to do it")
}

func (s *session) nothingToRepair(report *doctor.Report) error {
	s.note("tidings: there is nothing to repair in %s", report.Directory)
	return s.output().thing(&doctor.Repaired{Done: []string{}, Lost: []string{}, After: report}, func(io.Writer) error { return nil })
}
