package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by a release's linker flags; otherwise the build says it.
var Version = ""

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which build this is", Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := thisBuild()
			return s.output().thing(v, func(w io.Writer) error {
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
