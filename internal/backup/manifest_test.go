package backup

import (
	"errors"
	"testing"
)

// TestAManifestNamesOnlyFilesOfALog decodes manifests, with right checksums, that name other files than those of a log.
// None may be restored.
func TestAManifestNamesOnlyFilesOfALog(t *testing.T) {
	for name, taken := range map[string]bool{
		"FORMAT": true, "checkpoint-0000000000000007": true, "journal": true, "journal/0000000000000001.journal": true,
		"topics/0123-ab_C/0/00000000000000000000.log": true,

		"LOCK": false, "tidings.sock": false, "control.sock": false, "story.db": false, "RESTORING": false, ".": false, "..": false,
		"../evil": false, "/etc/passwd": false, "journal/../../evil": false, `a\..\evil`: false, `journal\..\..\evil`: false,
		"journal/C:evil": false, "topics/a b": false, "topics//x": false, "FORMAT/x": false, "": false, "journal/nul\x00": false,
	} {
		m := &Manifest{Head: Head{Version: manifestVersion}, Files: []File{{Path: name}}}
		b, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeManifest("manifest", b)
		if _, damaged := errors.AsType[*DamageError](err); (err == nil) != taken || damaged == taken {
			t.Errorf("%q: %v", name, err)
		}
	}
}
