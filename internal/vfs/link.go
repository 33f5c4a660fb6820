package vfs

// Linker is implemented by those FS that can give a file a second name for the same content: a copy that costs nothing,
// and stays when the first name is removed.
type Linker interface {
	// Link fails with fs.ErrExist where newName is taken, and with other errors where the file system has no such thing.
	Link(oldName, newName string) error
}

// Link implements Linker.
func (d *disk) Link(oldName, newName string) error {
	if err := checkEntry("link", oldName); err != nil {
		return err
	}
	if err := checkEntry("link", newName); err != nil {
		return err
	}
	return pathError("link", oldName, d.root.Link(oldName, newName))
}
