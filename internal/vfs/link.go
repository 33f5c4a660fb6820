package vfs

// Linker is implemented by an FS that can give a file a second name. The content stays accessible under the second name
// when the first one is removed. The results of [Disk] and [NewOverlay] implement it.
type Linker interface {
	// Link makes newName a second name of the file oldName. The new name is durable after SyncDir of its directory. The
	// error matches fs.ErrExist if newName exists. A file system without links returns another error.
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
