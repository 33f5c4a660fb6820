//go:build unix

package engine

import "syscall"

// MaxOpenFiles returns how many segment files may be open at once: a quarter of the process's limit for open files, at
// least 16 and at most 4096. The rest is for connections and for the program around the broker. A segment file that was
// written to is closed only after it was synced. The result is therefore also the number of partitions that can have
// unsynced data before each further one costs a sync.
func MaxOpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return defaultOpenFiles
	}
	return int(min(max(uint64(limit.Cur)/4, 16), 4096))
}
