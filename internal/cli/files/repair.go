package files

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/doctor"
)

func repairCommand(s *shell.Session) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "repair [DIR]", Short: "Repair what `tidings doctor` found",
		Long: "Prints what it would do to repair a data directory on which no broker runs, and does it with --yes. Without --yes the\n" +
			"exit code is 2 if there is something to do, else 0. Damaged files are written anew from all that can still be read;\n" +
			"the old ones are kept below " + doctor.LostDir + " in the directory. Nothing is changed unless a rehearsal shows that a broker opens the\n" +
			"outcome. DIR defaults to --data. Exit code 1: it cannot be repaired; 3: there is no DIR.",
		Example: "  tidings repair ./tidings-data\n  tidings repair ./tidings-data --yes",
		Args:    shell.Arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := directoryOf(cmd, s, args)
			if err != nil {
				return err
			}
			return repair(s, dir, yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return shell.Takes(c, shell.FlagData)
}

// repair repairs a data directory, or only prints the plan if yes is false.
func repair(s *shell.Session, dir string, yes bool) error {
	if !yes {
		return planRepair(s, dir)
	}
	before, done, err := doctor.RepairDir(dir)
	if errors.Is(err, doctor.ErrNothing) {
		return nothingToRepair(s, before)
	}
	if err != nil {
		return doctorFault(dir, err)
	}
	err = s.Output().Value(done, func(w io.Writer) error {
		for _, what := range done.Done {
			fmt.Fprintln(w, shell.Clean(what))
		}
		if done.Restored > 0 {
			fmt.Fprintf(w, "%s found again elsewhere\n", shell.Plural(int(done.Restored), "record"))
		}
		for _, what := range done.Lost {
			fmt.Fprintf(w, "lost: %s\n", shell.Clean(what))
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
		err = shell.Failedf("repair", "restore the newest backup: tidings restore TARGET --data ANOTHER", "%s is repaired as far as can be, and no broker opens it", dir)
	}
	return err
}

// planRepair prints the repairs that it would make, and returns a fault that asks for --yes.
func planRepair(s *shell.Session, dir string) error {
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
		return nothingToRepair(s, report)
	}
	err = s.Output().Value(todo, func(w io.Writer) error {
		for _, f := range todo {
			fmt.Fprintln(w, findingText(f))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return shell.Usagef("copy the directory first if you can; what is taken out of the way is kept in "+filepath.Join(dir, doctor.LostDir),
		"nothing was changed: add --yes to do it")
}

// nothingToRepair notes that a directory needs no repair, and prints an empty result.
func nothingToRepair(s *shell.Session, report *doctor.Report) error {
	s.Note("tidings: there is nothing to repair in %s", report.Directory)
	return s.Output().Value(&doctor.Repaired{Done: []string{}, Lost: []string{}, After: report}, func(io.Writer) error { return nil })
}
