package execute

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"name":"a/b","size":5,"sha256":"00"}`))
	f.Add([]byte(`{"name":"../b"}`))
	f.Add([]byte(`{"name":"/etc/passwd","size":-1}`))
	f.Add(make([]byte, maxHead+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseHead(data)
		if err != nil {
			return
		}
		if h.Size < 0 || !filepath.IsLocal(filepath.FromSlash(h.Name)) || h.Name == "." {
			t.Fatalf("%+v", h)
		}
		text, err := json.Marshal(h)
		if again, err2 := parseHead(text); err != nil || len(text) <= maxHead && (err2 != nil || again != h) {
			t.Fatalf("%+v, %+v, %v, %v", h, again, err, err2)
		}
	})
}
