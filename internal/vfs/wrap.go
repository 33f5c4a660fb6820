package vfs

// Wrap returns fs, but each file that it opens is what wrap makes of it: for tests that look at what is done with files, or
// do it their own way. A File that wrap returns hides what else the one below it is, a Sender for one.
func Wrap(fs FS, wrap func(File) File) FS { return &wrapped{fs, wrap} }

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
