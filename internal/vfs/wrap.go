package vfs

// Wrap returns an FS that behaves like fs, except that it passes each file that it opens to wrap and returns the result
// in its place. Tests use it to watch or change operations on files. Interfaces other than File that a file implements,
// such as [Sender], are lost unless the result of wrap implements them.
func Wrap(fs FS, wrap func(File) File) FS { return &wrapped{fs, wrap} }

// wrapped is the FS that Wrap returns.
type wrapped struct {
	FS
	wrap func(File) File
}

func (w *wrapped) Create(name string) (File, error)   { return w.file(w.FS.Create(name)) }
func (w *wrapped) Open(name string) (File, error)     { return w.file(w.FS.Open(name)) }
func (w *wrapped) OpenRead(name string) (File, error) { return w.file(w.FS.OpenRead(name)) }

func (w *wrapped) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return w.wrap(f), nil
}
