package serve

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"tidings.dev/internal/cli/shell"
)

// readSettings returns the broker settings in a file, if its name is not empty, and in pairs NAME=VALUE, which win. It
// returns a usage fault for what is not NAME=VALUE, and for a setting for which serve has a flag.
func readSettings(file string, pairs []string) (map[string]string, error) {
	settings := make(map[string]string)
	if file != "" {
		if err := readSettingsFile(file, settings); err != nil {
			return nil, err
		}
	}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, shell.Usagef("for example -c num.partitions=8", "-c %s: it is not NAME=VALUE", pair)
		}
		settings[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	for name := range settings {
		if flag := flagFor[name]; flag != "" {
			return nil, shell.Usagef("leave it out, and use "+flag, "%s is set by %s here", name, flag)
		}
	}
	return settings, nil
}

// flagFor has the flags for settings of Apache Kafka that say where things are.
var flagFor = map[string]string{
	"listeners": "--listen", "advertised.listeners": "--advertise", "log.dirs": "--data", "log.dir": "--data",
}

// readSettingsFile adds the settings in a file to settings: NAME=VALUE or NAME: VALUE in each line. Empty lines and those
// that begin with # or ! are left out.
func readSettingsFile(file string, settings map[string]string) error {
	f, err := os.Open(file)
	if err != nil {
		return shell.Usagef("name a file that can be read", "--config: %v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		at := strings.IndexAny(line, "=:")
		if at <= 0 {
			return shell.Usagef("write NAME=VALUE", "%s, line %d: it is not NAME=VALUE", file, n)
		}
		settings[strings.TrimSpace(line[:at])] = strings.TrimSpace(line[at+1:])
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
