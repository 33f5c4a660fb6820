package testbed

import (
	"fmt"
	"syscall"
)

// fileSystem returns the name of the file system that a directory is on. If the type has no name in the list below,
// it returns the type's number. It returns "" if the type cannot be read.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return ""
	}
	kinds := map[uint32]string{
		0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0x01021994: "tmpfs", 0x794c7630: "overlay", 0x6969: "nfs",
	}
	if name, ok := kinds[uint32(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", uint32(s.Type))
}
