package shell

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Names of the flags that every command parses but not every command uses (see Takes). The remaining shared flag, -o,
// is used by all commands, because it also sets the format of errors.
const (
	FlagBrokers = "brokers"
	FlagData    = "data"
	FlagVerbose = "verbose"
)

func (s *Session) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&s.Brokers, FlagBrokers, "", "the log's addresses, HOST:PORT with commas between (default: a broker on --data, else "+defaultBroker+")")
	flags.StringVar(&s.Data, FlagData, "", "data directory of a broker on this machine (default ./"+DefaultDataDir+")")
	flags.VarP(&s.Format, "output", "o", "output format (default: a table on a terminal, tab-separated otherwise)")
	flags.BoolVarP(&s.Verbose, FlagVerbose, "v", false, "log to stderr what goes on inside")

	// The help of a command lists only the flags that it uses; the help of the root lists all of them.
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = cmd.HasParent() && !takes(cmd, f.Name) })
		help(cmd, args)
	})
}

const takesAnnotation = "tidings.takes"

// Takes declares which of the flags FlagBrokers, FlagData and FlagVerbose a command uses, and returns the command. If
// a flag that is not declared is given on the command line, the command is refused; the help of the command leaves such
// flags out. A command that is not passed to Takes uses none of the three.
func Takes(c *cobra.Command, flags ...string) *cobra.Command {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[takesAnnotation] = strings.Join(flags, " ")
	return c
}

// TakesLog declares that a command uses the three flags, as every command that calls Session.Target does. It returns
// the command.
func TakesLog(c *cobra.Command) *cobra.Command {
	return Takes(c, FlagBrokers, FlagData, FlagVerbose)
}

// takes reports whether a command uses a flag.
func takes(c *cobra.Command, flag string) bool {
	switch flag {
	case FlagBrokers, FlagData, FlagVerbose:
		return slices.Contains(strings.Fields(c.Annotations[takesAnnotation]), flag)
	}
	return true
}

// refuseUnused returns a usage fault if the command line has a flag that its command does not use. It must be called
// before setFromEnvironment: an environment variable is meant for all commands, and a command that does not use the
// flag ignores it.
func refuseUnused(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if err != nil || takes(c, f.Name) {
			return
		}
		hint := "leave it out"
		if f.Name == FlagBrokers && takes(c, FlagData) {
			hint = "it works on files of this machine: name the data directory with --data, and leave --brokers out"
		}
		err = Usagef(hint, "%s does not use --%s", c.CommandPath(), f.Name)
	})
	if err == nil && c.Flags().Changed(FlagBrokers) && c.Flags().Changed(FlagData) {
		err = Usagef("leave one of them out", "--brokers and --data both name the log")
	}
	return err
}

// mayBeEmptyAnnotation marks a flag for which an empty text is a value like others.
const mayBeEmptyAnnotation = "tidings.empty"

// MayBeEmpty declares that an empty text is a value like others for some flags of a command.
func MayBeEmpty(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := c.Flags().SetAnnotation(name, mayBeEmptyAnnotation, nil); err != nil {
			panic(err) // the command has no such flag
		}
	}
}

// refuseEmpty returns a usage fault if the command line has a flag whose value is a text, or a list of them, and that is empty:
// --id "$ID" in a script where ID is not set. It would be taken for the default, and that may be another log, another backup or another
// event. It must be called before setFromEnvironment, for which an empty variable is one that is not set.
func refuseEmpty(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if _, ok := f.Annotations[mayBeEmptyAnnotation]; ok || err != nil {
			return
		}
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if empty {
			err = Usagef("leave it out for the default; in a script, look whether the variable is set", "--%s is empty", f.Name)
		}
	})
	return err
}

// notFromEnvironment has the flags that setFromEnvironment does not set. Addresses of the log follow the rule of
// findTarget, and consent is never taken from the environment.
var notFromEnvironment = map[string]bool{FlagBrokers: true, FlagData: true, "yes": true, "help": true}

// setFromEnvironment sets each flag that was not given on the command line from its environment variable, if that is
// set and not empty. It returns a usage fault that names the variable if the value is invalid.
func setFromEnvironment(cmd *cobra.Command) (err error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || notFromEnvironment[f.Name] {
			return
		}
		name := "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if setErr := cmd.Flags().Set(f.Name, value); setErr != nil {
			err = Usagef(fmt.Sprintf("mend the variable, or give --%s", f.Name), "%s=%q: %v", name, value, setErr)
		}
		f.Annotations = map[string][]string{environmentAnnotation: {name}}
	})
	return err
}

// environmentAnnotation marks a flag that setFromEnvironment has set.
const environmentAnnotation = "tidings.environment"

// Given reports whether a flag was given on the command line. A flag that was set only from the environment is not
// given: a command that refuses a combination of flags does so only if they were given.
func Given(cmd *cobra.Command, flag string) bool {
	f := cmd.Flags().Lookup(flag)
	return f != nil && f.Changed && f.Annotations[environmentAnnotation] == nil
}

// RefuseWith returns a usage fault if one of the flags was given on the command line. what completes the message and
// says in which case the command does not use them, such as "with --brokers".
func RefuseWith(cmd *cobra.Command, what string, flags ...string) error {
	for _, name := range flags {
		if Given(cmd, name) {
			return Usagef("leave it out", "%s does not use --%s %s", cmd.CommandPath(), name, what)
		}
	}
	return nil
}
