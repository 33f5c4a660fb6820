package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
)

// Version is the version of a release, set with linker flags. If it is empty, the version comes from the build
// information of the module, or is "devel" if there is none.
var Version = ""

// versionInfo is the output of `version`.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(s *shell.Session) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print which build this is",
		Long:    "Prints the version, the commit, the Go version and the platform of this program.",
		Example: "  tidings version -o json",
		Args:    shell.Arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := thisBuild()
			return s.Output().Value(v, func(w io.Writer) error {
				commit := v.Commit
				if v.Modified {
					commit += " (modified)"
				}
				_, err := fmt.Fprintln(w, "tidings", v.Version, commit, v.Go, v.Platform)
				return err
			})
		},
	}
}

func thisBuild() versionInfo {
	v := versionInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				v.Commit = setting.Value
			case "vcs.modified":
				v.Modified = setting.Value == "true"
			}
		}
	}
	if Version != "" {
		v.Version = Version
	}
	return v
}
